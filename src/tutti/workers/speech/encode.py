# pyright: basic
# The types of PyAV say too little of codecs.
"""Encodes samples piece by piece, as a file of any of the audio formats or as raw samples."""

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
    """An audio format: a container and a codec by FFmpeg's names.

    `bit_rate` is the default, and `most_bits` maps a sample rate to the highest bit rate from that rate on.
    `whole`: the header tells the file's size, so all of it comes at the end. `effort` holds codec options
    that keep encoding faster than the synthesis.
    """

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
"""A sample rate at which every bit rate is possible."""


def rate_of(form: Form, given_hz: int, wanted_hz: int | None, bit_rate: int | None) -> int:
    """Return the sample rate to encode with: the wanted one, or else the one of the given samples.

    If none is wanted and the bit rate needs a higher one, return that. Raises Refused if a wanted one is too
    low for the bit rate.
    """
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
    """Encodes samples of the rate `given_hz` into a file of the rate `rate_hz`."""

    def __init__(self, form: Form, given_hz: int, rate_hz: int, bit_rate: int | None) -> None:
        """Open the encoder. Raises Refused for a sample rate that the format does not have."""
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
        """Encode the samples and return the bytes that can be sent now: none if the format is `whole`."""
        if not len(samples):
            return b""
        frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = self._given_hz, self._count
        self._count += len(samples)
        self._container.mux(self._stream.encode(frame))
        return self._pipe.taken()

    def finish(self) -> Iterator[bytes]:
        """Yield the rest of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        yield self._pipe.taken()
        if self._file is not None:
            self._file.seek(0)
            while block := self._file.read(_BLOCK_BYTES):
                yield block

    def close(self) -> None:
        """Free the encoder.

        This is always needed, since a request that is cancelled never reaches `finish`.
        """
        self._container.close()
        if self._file is not None:
            self._file.close()


class _Pipe:
    """A file for FFmpeg to write to.

    It has no `seek`, so that what was written never changes and can be sent.
    """

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
