# pyright: basic
# PyAV's types say little.
"""Decodes audio files of the formats that the API takes into blocks of samples, in bounded memory.

FFmpeg also knows formats that refer to other files and addresses, such as playlists. So only the formats
listed here are opened, they may read nothing but the file itself, and only the audio stream of a file is
decoded.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from tutti.workers.transcribe.channels import mixed
from tutti.workers.transcribe.samples import RATE_HZ, Samples

_FORMATS = "wav,w64,mp3,mov,mp4,m4a,matroska,webm,flac,ogg,aac,aiff,caf,mpeg"
READ = "wav, mp3, m4a, mp4, webm, mkv, flac, ogg, opus, aac, aiff, caf, w64 and mpeg"
"""The formats by their file extensions, for error messages."""
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "pipe"}
_BLOCK = RATE_HZ
_RATES_HZ = range(1_000, 768_001)
_MOST_CHANNELS = 64
"""More than any recording has.

The header of a small file may claim so many that FFmpeg uses up the memory.
"""


class BadAudio(Exception):
    """The file can't be transcribed. The message is for people, `code` is the API's error code."""

    code: str | None = None


class TooLong(BadAudio):
    code = "audio_too_long"


def decoded(path: Path, max_duration_s: float | None = None) -> Iterator[Samples]:
    """Decode the file into blocks of about a second. Damaged parts are left out.

    Raises BadAudio: before the first block if there is no audio at all, or once it is longer than allowed.
    """
    with path.open("rb") as file:
        try:
            container = av.open(file, "r", options=_OPTIONS, metadata_errors="ignore")
        except (av.error.FFmpegError, ValueError) as error:
            raise BadAudio(f"The file is not audio of a format that is read: {READ}.") from error
        with container:
            yield from _limited(_blocks(container), max_duration_s)


def _limited(blocks: Iterator[Samples], max_duration_s: float | None) -> Iterator[Samples]:
    total = 0
    for block in blocks:
        total += len(block)
        if max_duration_s is not None and total > max_duration_s * RATE_HZ:
            raise TooLong(f"The audio is longer than the {max_duration_s:g} seconds that are allowed.")
        yield block
    if not total:
        raise BadAudio("The file has no audio that can be decoded.")


def _blocks(container: InputContainer) -> Iterator[Samples]:
    if not container.streams.audio:
        raise BadAudio("The file has no audio.")
    for _, frames in groupby(_frames(container), key=_form):
        for channels in _resampled(frames):
            yield mixed(channels)


def _form(frame: av.AudioFrame) -> tuple[str, str, int]:
    """Return sample format, channel layout and rate.

    They may change inside a file that was joined from two.
    """
    return frame.format.name, frame.layout.name, frame.sample_rate


def _resampled(frames: Iterable[av.AudioFrame]) -> Iterator[Samples]:
    """Yield blocks of samples at RATE_HZ, one row a channel.

    FFmpeg returns them interleaved ("packed"), because PyAV crashes on more than eight planes.
    """
    resampler = AudioResampler(format="flt", rate=RATE_HZ, frame_size=_BLOCK)
    for frame in frames:
        _check(frame)
        frame.pts = None
        yield from map(_rows, resampler.resample(frame))
    yield from map(_rows, resampler.resample(None))


def _rows(block: av.AudioFrame) -> Samples:
    return np.asarray(block.to_ndarray(), np.float32).reshape(-1, block.layout.nb_channels).T


def _check(frame: av.AudioFrame) -> None:
    rate_hz, channels = frame.sample_rate, frame.layout.nb_channels
    if rate_hz not in _RATES_HZ or channels > _MOST_CHANNELS:
        raise BadAudio(
            f"A recording has {_RATES_HZ[0]} to {_RATES_HZ[-1]} Hz and at most {_MOST_CHANNELS} channels, "
            f"not {rate_hz} Hz and {channels} channels."
        )


def _frames(container: InputContainer) -> Iterator[av.AudioFrame]:
    stream = container.streams.audio[0]
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                continue
    except av.error.FFmpegError:  # a truncated file: what came before is transcribed
        return
