# pyright: basic
# PyAV's types say little.
"""Sound files of the formats that the API takes, as blocks of samples: any length in the same memory.

FFmpeg also knows formats that name other files and addresses (playlists, for one): only those listed here are
opened, they read nothing but the file itself, and of a file's streams only sound is decoded.
"""

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from tutti.workers.transcribe.samples import RATE_HZ, Samples

_FORMATS = "wav,w64,mp3,mov,mp4,m4a,matroska,webm,flac,ogg,aac,aiff,caf,mpeg"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "pipe"}
_BLOCK = RATE_HZ


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
            raise BadAudio("The file is not audio of a supported format.") from error
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
    resampler = AudioResampler(format="flt", layout="mono", rate=RATE_HZ, frame_size=_BLOCK)
    for frame in _frames(container):
        frame.pts = None
        for block in resampler.resample(frame):
            yield block.to_ndarray()[0]
    for block in resampler.resample(None):
        yield block.to_ndarray()[0]


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
