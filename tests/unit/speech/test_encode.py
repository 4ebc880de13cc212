"""Every format that speech comes in: decoded again, it is the sound that went in."""

import io
from contextlib import closing
from typing import Any

import av
import numpy as np
import pytest
from scipy.signal import resample_poly

from tutti.workers.http import Refused
from tutti.workers.speech.encode import FORMS, RAW, Encoder, Form, rate_of

HZ = 24_000
Sound = np.ndarray[Any, np.dtype[np.float32]]
SWEEP: Sound = (0.5 * np.sin(2 * np.pi * np.cumsum(np.linspace(100, 3000, 2 * HZ)) / HZ)).astype(np.float32)


def encoded(form: Form, rate_hz: int = HZ, bit_rate: int | None = None, parts: int = 5) -> list[bytes]:
    with closing(Encoder(form, HZ, rate_hz, bit_rate)) as encoder:
        return [*(encoder.feed(part) for part in np.array_split(SWEEP, parts)), *encoder.finish()]


def decoded(data: bytes) -> tuple[Sound, int]:
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
        resampler = av.AudioResampler("flt", "mono")
        sound = [out.to_ndarray()[0] for frame in frames for out in resampler.resample(frame)]
        return np.concatenate(sound), frames[0].sample_rate


def likeness(sound: Sound, expected: Sound) -> float:
    """The best correlation over small shifts: codecs begin with some silence."""
    best = 0.0
    for shift in range(3000):
        part = sound[shift : shift + len(expected)]
        norm = np.linalg.norm(part) * np.linalg.norm(expected[: len(part)])
        best = max(best, float(part @ expected[: len(part)] / norm))
    return best


@pytest.mark.parametrize("name", FORMS)
def test_a_file_holds_the_sound(name: str) -> None:
    sound, rate_hz = decoded(b"".join(encoded(FORMS[name])))
    assert rate_hz == (48_000 if name == "opus" else HZ)  # Opus is always decoded at 48 kHz
    at_hz = resample_poly(sound, 1, rate_hz // HZ).astype(np.float32)
    assert len(at_hz) / HZ == pytest.approx(2, abs=0.1)
    assert likeness(at_hz, SWEEP) > 0.99


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 44_100, 48_000])
def test_pieces_are_resampled_as_one_sound(rate_hz: int) -> None:
    sound = np.frombuffer(b"".join(encoded(RAW["pcm_f32le"], rate_hz, parts=17)), "<f4")
    expected = resample_poly(SWEEP, rate_hz // 50, HZ // 50)
    assert len(sound) == pytest.approx(len(expected), abs=2)
    inner = slice(200, min(len(sound), len(expected)) - 200)
    assert np.abs(sound[inner] - expected[inner]).max() < 0.01


def test_samples_without_a_container() -> None:
    exact = np.frombuffer(b"".join(encoded(RAW["pcm_f32le"])), "<f4")
    assert np.array_equal(exact, SWEEP)
    short = np.frombuffer(b"".join(encoded(RAW["pcm_s16le"])), "<i2") / 32768
    assert np.abs(short - SWEEP).max() < 1e-4
    for law in ("mulaw", "alaw"):
        data = b"".join(encoded(RAW[f"pcm_{law}"]))
        assert len(data) == len(SWEEP)
        with av.open(io.BytesIO(data), format=law, options={"ar": str(HZ)}) as container:
            sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)]) / 32768
        assert np.abs(sound - SWEEP).max() < 0.02


@pytest.mark.parametrize("form", [*RAW.values(), FORMS["mp3"], FORMS["flac"], FORMS["aac"], FORMS["opus"]])
def test_what_can_be_sent_is_not_kept(form: Form) -> None:
    pieces = encoded(form, parts=4)
    assert sum(map(len, pieces[:2])) > sum(map(len, pieces)) / 5


def test_a_wav_file_says_how_long_it_is() -> None:
    data = b"".join(encoded(FORMS["wav"], 8000))
    assert data[:4] == b"RIFF"
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert int.from_bytes(data[40:44], "little") == len(data) - 44 == pytest.approx(32_000, abs=4)


@pytest.mark.parametrize("bit_rate", [32_000, 160_000, 192_000])
@pytest.mark.parametrize("wanted_hz", [None, 44_100])
def test_the_bit_rate_is_kept(bit_rate: int, wanted_hz: int | None) -> None:
    rate_hz = rate_of(FORMS["mp3"], HZ, wanted_hz, bit_rate)
    size = len(b"".join(encoded(FORMS["mp3"], rate_hz, bit_rate)))
    assert size == pytest.approx(2 * bit_rate / 8, rel=0.1)


def test_only_a_bit_rate_of_mp3_changes_the_sample_rate() -> None:
    assert rate_of(FORMS["mp3"], HZ, None, 160_000) == HZ
    assert rate_of(FORMS["mp3"], HZ, 8000, None) == 8000
    assert rate_of(RAW["pcm_s16le"], HZ, None, 192_000) == HZ


@pytest.mark.parametrize(("rate_hz", "most"), [(24_000, 160_000), (8000, 64_000)])
def test_a_bit_rate_that_the_sample_rate_does_not_have_is_refused(rate_hz: int, most: int) -> None:
    with pytest.raises(Refused, match=str(most)) as refused:
        rate_of(FORMS["mp3"], HZ, rate_hz, 192_000)
    assert refused.value.param == "bit_rate"
    assert rate_of(FORMS["mp3"], HZ, rate_hz, most) == rate_hz


def test_too_loud_is_cut_off_and_nothing_is_nothing() -> None:
    loud = np.full(100, 1.5, np.float32)
    with closing(Encoder(RAW["pcm_s16le"], HZ, HZ, None)) as encoder:
        data = encoder.feed(loud) + encoder.feed(loud[:0]) + encoder.feed(-loud) + b"".join(encoder.finish())
    assert set(np.frombuffer(data, "<i2")) == {32767, -32768}


def test_a_rate_that_the_format_does_not_have_is_refused() -> None:
    with pytest.raises(Refused, match="22050") as refused:
        Encoder(FORMS["mp3"], HZ, 23_000, None)
    assert refused.value.param == "sample_rate"
    Encoder(FORMS["wav"], HZ, 23_000, None).close()
