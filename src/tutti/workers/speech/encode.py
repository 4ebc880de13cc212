# pyright: basic
# The types of PyAV say too little of codecs.
"""Samples as files of every audio format, and as bare samples, piece by piece."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import cast

import av
import numpy as np

from tutti.workers.http import Refused
from tutti.workers.speech.model import Samples

_IN_MEMORY_BYTES = 8 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Form:
    """A container and a codec by FFmpeg's names. `whole`: its header tells the size, so it comes at the end.
    `bit_rate` is what it is written with where the request does not say, `most_bits` the highest from each
    sample rate on. `effort` keeps a codec from taking longer than the speaking does."""

    container: str
    codec: str
    content_type: str
    bit_rate: int | None = None
    most_bits: Mapping[int, int] = field(default_factory=dict[int, int])
    whole: bool = False
    options: dict[str, str] = field(default_factory=dict[str, str])
    effort: dict[str, str] = field(default_factory=dict[str, str])


FORMS = {
    "wav": Form("wav", "pcm_s16le", "audio/wav", whole=True),
    "mp3": Form(
        "mp3",
        "libmp3lame",
        "audio/mpeg",
        128_000,
        {8_000: 64_000, 16_000: 160_000, 32_000: 320_000},  # MPEG-2.5, MPEG-2, MPEG-1
        options={"write_xing": "0", "id3v2_version": "0"},
        effort={"compression_level": "7"},
    ),
    "opus": Form("ogg", "libopus", "audio/ogg", 64_000, options={"page_duration": "100000"}),
    "flac": Form("flac", "flac", "audio/flac"),
    "aac": Form("adts", "aac", "audio/aac", 96_000, effort={"aac_coder": "fast"}),
}
RAW = {
    encoding: Form(encoding.removeprefix("pcm_"), encoding, "application/octet-stream")
    for encoding in ("pcm_f32le", "pcm_s16le", "pcm_mulaw", "pcm_alaw")
}


_BEST_HZ = 48_000
"""Has every bit rate."""


def rate_of(form: Form, given_hz: int, wanted_hz: int | None, bit_rate: int | None) -> int:
    """To write with: as it is given where none is wanted, unless only a higher one has the bit rate. Raises
    Refused."""
    rate_hz = wanted_hz or given_hz
    most = max((bits for from_hz, bits in form.most_bits.items() if from_hz <= rate_hz), default=None)
    if bit_rate is None or most is None or bit_rate <= most:
        return rate_hz
    if wanted_hz is None:
        return _BEST_HZ
    raise Refused(
        f"At {wanted_hz} Hz this format has no bit rate above {most}: leave `sample_rate` out.",
        "bit_rate",
    )


class Encoder:
    """Takes samples of `given_hz`, gives bytes at `rate_hz`."""

    def __init__(self, form: Form, given_hz: int, rate_hz: int, bit_rate: int | None) -> None:
        """Raises Refused for a rate that the format does not have."""
        _check_rate(form, rate_hz)
        self._form, self._given_hz, self._count = form, given_hz, 0
        self._pipe = _Pipe()
        self._file = SpooledTemporaryFile[bytes](_IN_MEMORY_BYTES) if form.whole else None
        options = {"fflags": "+bitexact+flush_packets", **form.options}
        self._container = av.open(self._file or self._pipe, "w", format=form.container, options=options)
        stream = self._container.add_stream(form.codec, rate=rate_hz, options=form.effort, layout="mono")
        self._stream = cast(av.AudioStream, stream)
        if form.bit_rate is not None:
            self._stream.bit_rate = bit_rate or form.bit_rate

    def feed(self, samples: Samples) -> bytes:
        """What can be sent already: nothing of a form that comes whole."""
        if not len(samples):
            return b""
        frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = self._given_hz, self._count
        self._count += len(samples)
        self._container.mux(self._stream.encode(frame))
        return self._pipe.taken()

    def finish(self) -> Iterator[bytes]:
        """The rest."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        yield self._pipe.taken()
        if self._file is not None:
            self._file.seek(0)
            while block := self._file.read(_BLOCK_BYTES):
                yield block

    def close(self) -> None:
        """Needed in any case: who leaves early does not come to the end of `finish`."""
        self._container.close()
        if self._file is not None:
            self._file.close()


class _Pipe:
    """Has no `seek`: what FFmpeg has written can be sent."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _check_rate(form: Form, rate_hz: int) -> None:
    rates = av.Codec(form.codec, "w").audio_rates
    if rates is not None and rate_hz not in rates:
        listed = ", ".join(map(str, sorted(rates)))
        raise Refused(f"This format has no sample rate of {rate_hz} Hz, only {listed}.", "sample_rate")
