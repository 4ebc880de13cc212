"""POST /audio/transcriptions and /audio/translations: forms with a file, or a URL in a form or in JSON."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from tutti.base.errors import InvalidRequest
from tutti.base.model import Model
from tutti.engines.audio import Transcript, TranscriptionCall
from tutti.features.audio.formats import TYPES, events, written
from tutti.features.audio.recordings import Recording, fetched, received
from tutti.features.audio.service import language_of, leased, listener
from tutti.features.audio.transcription_schemas import AudioTranscriptionRequest, AudioTranslationRequest
from tutti.features.files.bodies import whole_body
from tutti.features.files.forms import MultipartForm, parse
from tutti.features.metered import metered
from tutti.http.body import decoded
from tutti.http.context import caller, family
from tutti.http.stream import while_connected
from tutti.platform import Platform

_Asked = AudioTranscriptionRequest | AudioTranslationRequest
_R = TypeVar("_R", AudioTranscriptionRequest, AudioTranslationRequest)
_LISTED = re.compile(r"(\w+)\[\d*\]$")


async def transcribe(platform: Platform, request: Request) -> Response:
    async with _asked(platform, request, AudioTranscriptionRequest) as (asked, recording):
        language = asked.language or ("auto" if family(request) == "openai" else "en")
        call = TranscriptionCall(
            model=await listener(platform, asked.model, caller(request).project_id),
            audio=recording.path,
            filename=recording.filename,
            language=language_of(language),
            words=_wants_words(asked) or bool(asked.diarize),
            diarize=bool(asked.diarize),
            min_speakers=asked.min_speakers,
            max_speakers=asked.max_speakers,
            **_common(platform, asked),
        )
        _check_speakers(asked)
        return await _answered(platform, request, asked, call)


async def translate(platform: Platform, request: Request) -> Response:
    async with _asked(platform, request, AudioTranslationRequest) as (asked, recording):
        if language_of(asked.language or "en") != "en":
            raise InvalidRequest("English is the only language to translate into.", param="language")
        call = TranscriptionCall(
            model=await listener(platform, asked.model, caller(request).project_id),
            audio=recording.path,
            filename=recording.filename,
            task="translate",
            words=_wants_words(asked),
            **_common(platform, asked),
        )
        return await _answered(platform, request, asked, call)


def _common(platform: Platform, asked: _Asked) -> dict[str, Any]:
    return {
        "prompt": asked.prompt or "",
        "temperature": asked.temperature or 0.0,
        "max_audio_s": platform.settings.max_audio_s,
    }


def _wants_words(asked: _Asked) -> bool:
    return asked.response_format == "verbose_json" and "word" in (asked.timestamp_granularities or ())


def _check_speakers(asked: AudioTranscriptionRequest) -> None:
    least, most = asked.min_speakers or 1, asked.max_speakers
    if most is not None and most < least:
        raise InvalidRequest("max_speakers is less than min_speakers.", param="max_speakers")


async def _answered(platform: Platform, request: Request, asked: _Asked, call: TranscriptionCall) -> Response:
    request.scope["state"]["model"] = call.model.name
    transcript = await while_connected(request, _transcribed(platform, request, call))
    form = asked.response_format or "json"
    if asked.stream and form in ("json", "text"):
        return Response(b"".join(events(transcript)), media_type="text/event-stream")
    return Response(written(transcript, form, call.task), media_type=TYPES[form])


async def _transcribed(platform: Platform, request: Request, call: TranscriptionCall) -> Transcript:
    operation = "transcriptions" if call.task == "transcribe" else "translations"
    with metered(platform.meter, caller(request), call.model, operation):
        async with leased(platform, call.model, caller(request).project_id) as lease:
            if lease.engine.transcription is None:
                raise _cannot(call.model)
            heard = await lease.engine.transcription.transcribe(lease.upstream, call)
            return heard if call.words else msgspec.structs.replace(heard, words=None)


def _cannot(model: Model) -> InvalidRequest:
    return InvalidRequest(f"The engine of {model.name} cannot transcribe.", param="model")


# --- reading the request ------------------------------------------------------------------------------------


@asynccontextmanager
async def _asked(
    platform: Platform, request: Request, kind: type[_R]
) -> AsyncGenerator[tuple[_R, Recording]]:
    content_type = request.headers.get("content-type", "")
    form = _multipart(request, content_type)
    part = None if form is None else await form.file()
    if form is not None and part is not None:
        async with received(platform, part.data, part.filename) as recording:
            await form.finish()
            yield parse(kind, _joined(form.fields)), recording
        return
    asked = _checked(kind, decoded(request.scope)) if form is None else parse(kind, _joined(form.fields))
    if asked.file is None:
        raise InvalidRequest("Send the recording as a part `file` of a form, or its URL.", param="file")
    async with fetched(platform, asked.file) as recording:
        yield asked, recording


def _multipart(request: Request, content_type: str) -> MultipartForm | None:
    kind = content_type.split(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return None
    return MultipartForm(content_type, whole_body(request), lists=("timestamp_granularities",))


def _joined(fields: Mapping[str, str]) -> dict[str, str]:
    """Lists come as `name[]` or `name[0]`, or as one value with commas: that is what this makes of them."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        match = _LISTED.match(name)
        key = match[1] if match else name
        found[key] = f"{found[key]},{value}" if match and key in found else value
    return found


def _checked(kind: type[_R], value: Any) -> _R:
    """JSON, as batches have it."""
    if value is None:
        raise InvalidRequest("Send a body of multipart/form-data, or JSON with the URL of the recording.")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        complaints = [{**it, "loc": ("body", *it["loc"])} for it in error.errors()]
        raise RequestValidationError(complaints, body=value) from error
