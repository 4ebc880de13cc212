"""Reads the multipart form of a transcription: its fields, and its file, which is kept on disk."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from aiohttp import BodyPartReader, web

from tutti.workers.http import Refused
from tutti.workers.transcribe.languages import whisper_code
from tutti.workers.transcribe.recording import Wanted
from tutti.workers.transcribe.whisper import FALLBACKS, Options

_CHUNK = 1 << 18
_MAX_FIELD = 64 * 1024

T = TypeVar("T")
Speakers = Annotated[int, msgspec.Meta(ge=1, le=100)]


class Fields(msgspec.Struct):
    model: str = ""
    language: str = ""
    prompt: str = ""
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    response_format: str = "verbose_json"
    timestamp_granularities: list[Literal["segment", "word"]] = []
    diarize: bool = False
    min_speakers: Speakers | None = None
    max_speakers: Speakers | None = None
    max_duration_s: float | None = None


@asynccontextmanager
async def form(request: web.Request) -> AsyncGenerator[tuple[Fields, Path]]:
    """Read the form, and yield its fields and the path of its file. Raises Refused.

    The file is deleted at the end of the block.
    """
    with tempfile.NamedTemporaryFile(prefix="tutti-audio-") as file:
        values: dict[str, str | list[str]] = {}
        found = False
        try:
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader):
                    raise Refused("A part of the form has parts itself.")
                if part.name == "file":
                    found = True
                    while chunk := await part.read_chunk(_CHUNK):
                        file.write(chunk)
                else:
                    await _add(values, part)
        except ValueError as error:
            raise Refused(f"The form cannot be read: {error}") from error
        if not found:
            raise Refused("The file is missing.", "file")
        file.flush()
        yield _fields(values), Path(file.name)


async def _add(values: dict[str, str | list[str]], part: BodyPartReader) -> None:
    name, text = (part.name or "").removesuffix("[]"), (await part.read_chunk(_MAX_FIELD)).decode()
    if name == "timestamp_granularities":
        values[name] = [*values.get(name, []), text]
    else:
        values[name] = text


def _fields(values: dict[str, str | list[str]]) -> Fields:
    try:
        return msgspec.convert(values, Fields, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(str(error)) from error


def wanted(fields: Fields, task: Literal["transcribe", "translate"]) -> Wanted:
    """Return the options of the transcription that the fields ask for. Raises Refused."""
    language = whisper_code(None if fields.language in ("", "auto") else fields.language)
    least, most = fields.min_speakers, fields.max_speakers
    if least is not None and most is not None and least > most:
        raise Refused("min_speakers is greater than max_speakers.", "min_speakers")
    words = "word" in fields.timestamp_granularities
    options = Options(
        task=task,
        language=language,
        prompt=fields.prompt,
        temperatures=(fields.temperature,) if fields.temperature else FALLBACKS,
        words=words or fields.diarize,
    )
    return Wanted(options, words, fields.diarize, least, most, fields.max_duration_s)
