"""Sound files of the formats that the API takes, and files that only pretend to be."""

import io
import itertools
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from tutti.workers.transcribe.decode import BadAudio, TooLong, decoded
from tutti.workers.transcribe.inlet import Inlet
from tutti.workers.transcribe.samples import RATE_HZ, Samples

FORMATS = [
    ("wav", "wav", "pcm_s16le"),
    ("mp3", "mp3", "libmp3lame"),
    ("m4a", "mp4", "aac"),
    ("webm", "webm", "libopus"),
    ("flac", "flac", "flac"),
    ("ogg", "ogg", "vorbis"),
    ("opus", "ogg", "libopus"),
    ("aac", "adts", "aac"),
]


def tone(seconds: float, rate_hz: int = 48_000) -> np.ndarray:
    """440 Hz, from the first second on twice as loud."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (np.sin(2 * np.pi * 440 * time) * np.where(time < 1, 0.2, 0.4) * 32767).astype(np.int16)


def encoded(container: str, codec: str, seconds: float = 2.5) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000, layout="stereo", options={"strict": "experimental"})
        samples = np.repeat(tone(seconds), 2)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(stream.format, "stereo", 48_000, stream.frame_size or None)
        for piece in (frame, None):
            for ready in resampler.resample(piece):
                output.mux(stream.encode(ready))
        output.mux(stream.encode(None))
    return file.getvalue()


def heard(path: Path, data: bytes) -> Samples:
    path.write_bytes(data)
    return np.concatenate(list(decoded(path)))


@pytest.mark.parametrize(("ending", "container", "codec"), FORMATS)
def test_every_format_of_the_api_is_heard(ending: str, container: str, codec: str, tmp_path: Path) -> None:
    found = heard(tmp_path / f"sound.{ending}", encoded(container, codec))
    assert found.dtype == np.float32
    assert len(found) / RATE_HZ == pytest.approx(2.5, abs=0.15)
    quiet, loud = (np.sqrt(np.mean(found[start : start + 8000] ** 2)) for start in (4000, 24_000))
    assert loud / quiet == pytest.approx(2, rel=0.1)
    peak = np.fft.rfftfreq(16_000, 1 / RATE_HZ)[np.abs(np.fft.rfft(found[8000:24_000])).argmax()]
    assert peak == pytest.approx(440, abs=3)


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    assert len(heard(tmp_path / "sound.txt", encoded("mp3", "libmp3lame"))) > 0


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n%s\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    "data", [b"", b"not audio at all", b"\0" * 5000, b"RIFF\xff\xff\xff\xffWAVEfmt ", b"%PDF-1.7\n" * 99]
)
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadAudio):
        heard(tmp_path / "sound.wav", data)


def test_files_that_name_other_files_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded("wav", "pcm_s16le"))
    name = str(secret).encode()
    for data in (
        PLAYLIST % name,
        PLAYLIST % b"http://127.0.0.1:1/",
        b"ffconcat version 1.0\nfile " + name,
        b"v=0\nm=audio 1 RTP/AVP 0\n",
    ):
        with pytest.raises(BadAudio):
            heard(tmp_path / "list.m3u8", data)


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        output.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(BadAudio, match="no audio"):
        heard(tmp_path / "film.mp4", file.getvalue())


def test_what_there_is_of_a_broken_file_is_heard(tmp_path: Path) -> None:
    whole = encoded("mp3", "libmp3lame", 5)
    half = whole[: len(whole) // 2]
    assert 2 < len(heard(tmp_path / "half.mp3", half)) / RATE_HZ < 3
    damaged = half + bytes(range(256)) * 8 + whole[len(whole) // 2 + 2048 :]
    assert len(heard(tmp_path / "damaged.mp3", damaged)) / RATE_HZ > 4


def test_too_long_is_refused_as_soon_as_it_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "long.mp3"
    path.write_bytes(encoded("mp3", "libmp3lame", 10))
    blocks = decoded(path, max_duration_s=4)
    assert len(next(blocks)) <= RATE_HZ
    with pytest.raises(TooLong, match="longer than the 4 seconds"):
        list(blocks)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000, 48_000])
def test_a_stream_may_come_in_any_portions_and_rates(rate_hz: int) -> None:
    inlet, data = Inlet(rate_hz), tone(2, rate_hz).astype("<i2").tobytes()
    cuts = [0, 1, 2, 3, 1000, 1001, 30_001, len(data)]
    found = np.concatenate([inlet.read(data[a:b]) for a, b in itertools.pairwise(cuts)])
    assert len(found) / RATE_HZ == pytest.approx(2, abs=0.01)
    peak = np.fft.rfftfreq(16_000, 1 / RATE_HZ)[np.abs(np.fft.rfft(found[8000:24_000])).argmax()]
    assert peak == pytest.approx(440, abs=2)


def test_a_wave_file_of_nothing_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "empty.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
    with pytest.raises(BadAudio):
        list(decoded(tmp_path / "empty.wav"))
