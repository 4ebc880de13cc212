"""Sound files of the formats that the API takes, and files that only pretend to be."""

import io
import itertools
import struct
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from tutti.workers.transcribe.decode import READ, BadAudio, TooLong, decoded
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
    ("mp4", "mp4", "aac"),
    ("mkv", "matroska", "libopus"),
    ("aiff", "aiff", "pcm_s16be"),
    ("caf", "caf", "pcm_s16le"),
    ("w64", "w64", "pcm_s16le"),
    ("mpeg", "mpeg", "mp2"),
]


def tone(seconds: float, rate_hz: int = 48_000) -> np.ndarray:
    """440 Hz, from the first second on twice as loud."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (np.sin(2 * np.pi * 440 * time) * np.where(time < 1, 0.2, 0.4) * 32767).astype(np.int16)


def encoded(
    container: str, codec: str, seconds: float = 2.5, layout: str = "stereo", rate_hz: int = 48_000
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout, options={"strict": "experimental"})
        stream.bit_rate = 128_000
        samples = np.repeat(tone(seconds, rate_hz), stream.channels)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(stream.format, layout, rate_hz, stream.frame_size or None)
        for piece in (frame, None):
            for ready in resampler.resample(piece):
                output.mux(stream.encode(ready))
        output.mux(stream.encode(None))
    return file.getvalue()


def heard(path: Path, data: bytes) -> Samples:
    path.write_bytes(data)
    return np.concatenate(list(decoded(path)))


def test_the_list_is_of_these_formats() -> None:
    assert set(READ.replace(" and ", ", ").split(", ")) == {ending for ending, _, _ in FORMATS}


@pytest.mark.parametrize(("ending", "container", "codec"), FORMATS)
def test_every_format_that_is_listed_is_heard(
    ending: str, container: str, codec: str, tmp_path: Path
) -> None:
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


def waved(channels: np.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    """A wav file of rows of channels."""
    data = (channels.T * 32767).astype("<i2").tobytes()
    width = 2 * len(channels)
    form = struct.pack("<IHHIIHH", 16, 1, len(channels), rate_hz, rate_hz * width & 0xFFFFFFFF, width, 16)
    head = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + form
    return head + b"data" + struct.pack("<I", len(data)) + data


SOUND = tone(2, RATE_HZ) / 32767
NOISE = np.random.default_rng(0).normal(0, 0.1, len(SOUND)).clip(-0.9, 0.9)
NONE = np.zeros_like(SOUND)


@pytest.mark.parametrize(
    "channels",
    [
        [SOUND],
        [SOUND, SOUND],
        [SOUND, -SOUND],
        [SOUND, -0.6 * SOUND],
        [-0.7 * SOUND, SOUND],
        [NONE, SOUND],
        [SOUND, NONE],
        [0.4 + SOUND / 2, 0.4 - SOUND / 2],
        [NONE, SOUND, -SOUND],
        [NONE, NONE, SOUND, NONE, NONE, NONE],
        [SOUND / 2, -SOUND / 2, SOUND, NONE, SOUND / 4, -SOUND / 4],
        [0.001 * SOUND, SOUND],
        [SOUND + NOISE, -SOUND + NOISE],
        [SOUND if n % 2 else -SOUND for n in range(64)],
    ],
)
def test_what_is_on_any_channel_is_heard(channels: list[np.ndarray], tmp_path: Path) -> None:
    found = heard(tmp_path / "sound.wav", waved(np.array(channels)))
    assert len(found) == len(SOUND)
    likeness = np.corrcoef(found, SOUND)[0, 1]
    assert abs(likeness) > 0.8
    assert np.std(found) > np.std(SOUND) / (2 * len(channels))


def test_a_quiet_channel_that_goes_its_own_way_is_kept(tmp_path: Path) -> None:
    other = np.roll(SOUND[::-1], 7) * np.linspace(0, 1, len(SOUND))
    found = heard(tmp_path / "two.wav", waved(np.array([SOUND, other])))
    assert np.corrcoef(found, SOUND + other)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("channels", "rate_hz"), [(1, 2**31 - 1), (1, 1), (1, 7), (65, 16_000), (512, 16_000)]
)
def test_what_no_recording_is_takes_no_memory(channels: int, rate_hz: int, tmp_path: Path) -> None:
    data = waved(np.zeros((channels, 4000), np.float32), rate_hz)
    with pytest.raises(BadAudio, match="1000 to 768000 Hz and at most 64 channels"):
        heard(tmp_path / "sound.wav", data)


def test_a_format_that_changes_in_the_middle_is_heard_to_the_end(tmp_path: Path) -> None:
    """Recordings that were joined: each brings its own rate and channels."""
    one, two = (encoded("adts", "aac", layout=layout) for layout in ("stereo", "mono"))
    assert len(heard(tmp_path / "joined.aac", one + two)) / RATE_HZ == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize(("container", "codec"), [("ac3", "ac3"), ("asf", "wmav2")])
def test_a_file_of_another_format_is_told_which_are_read(container: str, codec: str, tmp_path: Path) -> None:
    with pytest.raises(
        BadAudio, match="read: wav, mp3, m4a, mp4, webm, mkv, flac, ogg, opus, aac, aiff, caf"
    ):
        heard(tmp_path / "speech", encoded(container, codec, rate_hz=44_100))
