# pyright: basic
# PyAV's types say little.
"""Sound files of the formats that the API takes, as blocks of samples: any length in the same memory.

FFmpeg also knows formats that name other files and addresses (playlists, for one): only those listed here are
opened, they read nothing but the file itself, and of a file's streams only sound is decoded.
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
"""The same by the endings of files, for people."""
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "pipe"}
_BLOCK = RATE_HZ
_RATES_HZ = range(1_000, 768_001)
_MOST_CHANNELS = 64
"""No recording has more, and the head of a small file may say what takes FFmpeg all of the memory."""


class BadAudio(Exception):
    """For people: why the file can't be heard."""

    code: str | None = None


class TooLong(BadAudio):
    code = "audio_too_long"


def decoded(path: Path, max_duration_s: float | None = None) -> Iterator[Samples]:
    """Blocks of about a second. Damaged parts are left out. Raises BadAudio: before the first block where
    there is no sound at all, or when it turns out longer than allowed."""
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
    """What may change in the middle of a file, as where two were joined."""
    return frame.format.name, frame.layout.name, frame.sample_rate


def _resampled(frames: Iterable[av.AudioFrame]) -> Iterator[Samples]:
    """Rows of channels. FFmpeg gives them packed: PyAV crashes on more than eight planes."""
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
    except av.error.FFmpegError:  # a file that breaks off: what came before it counts
        return
