"""Speech, transcription and realtime through the official clients, and a round trip by the command line."""

import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.clients import check_errors, program, run
from tests.support.patience import limit
from tests.support.server import Server, running_server

from tutti.base.model import Model

SCRIPTS = {
    "together-1": "audio_v1.py",
    "together-2": "audio_stainless.py",
    "together-3": "audio_stainless.py",
    "openai": "audio_openai.py",
    "together-node": "audio.mjs",
}
MODELS = (
    Model(name="test/speech", type="audio", engine="echo", voices=("heart",)),
    Model(name="test/whisper", type="transcribe", engine="echo"),
)

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Served:
    server: Server
    file: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("audio") / "said.wav"
    with wave.open(str(file), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16_000)
        recording.writeframes(b"\1\2" * 16_000)
    with running_server(MODELS) as server:
        yield Served(server, file)


@pytest.mark.parametrize("client", SCRIPTS)
def test_every_audio_operation(client: str, served: Served) -> None:
    argv = [*program(client, SCRIPTS[client]), "test/speech", "test/whisper", "-", "check_", served.file]
    done = check_errors(run(argv, served.server, client, timeout_s=limit(200)))
    assert len(done) >= 5
    assert not any(done.values()), "\n".join(f"{name}: {error}" for name, error in done.items())


def test_the_command_line(served: Served, tmp_path: Path) -> None:
    def tutti(*args: str) -> str:
        return run([sys.executable, "-m", "tutti", "audio", *args], served.server, timeout_s=limit(200))

    said = tmp_path / "said.wav"
    tutti("speech", "Hello there.", "--voice", "heart", "-o", str(said))
    assert said.read_bytes()[:4] == b"RIFF" and [it.name for it in tmp_path.iterdir()] == ["said.wav"]
    heard = f"echo of {said.stat().st_size} bytes"
    assert tutti("transcribe", str(said)) == heard + "\n"
    assert tutti("transcribe", str(said), "--diarize").splitlines()[0] == "SPEAKER_00: echo"
    assert tutti("translate", str(said), "--format", "srt").splitlines()[2] == heard
    assert "test/speech" in tutti("voices")
