"""Speech, transcription and realtime through the official clients, and a round trip by the command line."""

import json
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.clients import node_client, python_client
from tests.support.server import running_server

from tutti.base.model import Model

SCRIPTS = Path(__file__).parent / "scripts"
PYTHON_SCRIPTS = {
    "together-1": "audio_v1.py",
    "together-2": "audio_stainless.py",
    "together-3": "audio_stainless.py",
    "openai": "audio_openai.py",
}
MODELS = (
    Model(name="test/speech", type="audio", engine="echo", voices=("heart",)),
    Model(name="test/whisper", type="transcribe", engine="echo"),
)

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Served:
    url: str
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
        yield Served(server.url, file)


@pytest.mark.parametrize("client", (*PYTHON_SCRIPTS, "together-node"))
def test_every_audio_operation(client: str, served: Served) -> None:
    base = served.url if client == "together-3" else f"{served.url}/v1"
    env = {
        **os.environ,
        **{f"{name}_BASE_URL": base for name in ("TOGETHER", "OPENAI")},
        **{f"{name}_API_KEY": "any" for name in ("TOGETHER", "OPENAI")},
    }
    argv = [*_program(client), "test/speech", "test/whisper", "-", "check_", str(served.file)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) >= 5
    assert not any(it["error"] for it in lines), "\n".join(it["check"] + ": " + it["error"] for it in lines)


def _program(client: str) -> list[str]:
    if client in PYTHON_SCRIPTS:
        return [str(python_client(client)), str(SCRIPTS / PYTHON_SCRIPTS[client])]
    folder = node_client()
    if folder is None:
        pytest.skip("Node is not on this machine")
    script = folder / "audio.mjs"
    script.write_bytes((SCRIPTS / "audio.mjs").read_bytes())
    return ["node", str(script)]


def test_the_command_line(served: Served, tmp_path: Path) -> None:
    def tutti(*args: str) -> str:
        env = {**os.environ, "TOGETHER_BASE_URL": served.url, "TOGETHER_API_KEY": "any"}
        argv = [sys.executable, "-m", "tutti", "audio", *args]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = tmp_path / "said.wav"
    tutti("speech", "Hello there.", "--voice", "heart", "-o", str(said))
    assert said.read_bytes()[:4] == b"RIFF" and [it.name for it in tmp_path.iterdir()] == ["said.wav"]
    heard = f"echo of {said.stat().st_size} bytes"
    assert tutti("transcribe", str(said)) == heard + "\n"
    assert tutti("transcribe", str(said), "--diarize").splitlines()[0] == "SPEAKER_00: echo"
    assert tutti("translate", str(said), "--format", "srt").splitlines()[2] == heard
    assert "test/speech" in tutti("voices")
