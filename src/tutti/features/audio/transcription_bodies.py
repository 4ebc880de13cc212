"""Reads requests with a recording: forms with a file, or a URL in a form or in JSON."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from tutti.base.errors import InvalidRequest
from tutti.features.audio.recordings import Recording, fetched, received
from tutti.features.audio.transcription_schemas import AudioTranscriptionRequest, AudioTranslationRequest
from tutti.features.files.bodies import whole_body
from tutti.features.files.forms import MultipartForm, parse
from tutti.http.body import decoded
from tutti.platform import Platform

_Body = TypeVar("_Body", AudioTranscriptionRequest, AudioTranslationRequest)
_LISTED = re.compile(r"(\w+)\[\d*\]$")


@asynccontextmanager
async def read(
    platform: Platform, request: Request, kind: type[_Body]
) -> AsyncGenerator[tuple[_Body, Recording]]:
    """Read a request of a kind and its recording, whose file is there until the context ends.

    Raises InvalidRequest, RequestValidationError, and TooLarge.
    """
    content_type = request.headers.get("content-type", "")
    form = _multipart(request, content_type)
    part = None if form is None else await form.file()
    if form is not None and part is not None:
        async with received(platform, part.data, part.filename) as recording:
            await form.finish()
            yield parse(kind, _joined(form.fields)), recording
        return
    body = _from_json(kind, decoded(request.scope)) if form is None else parse(kind, _joined(form.fields))
    if body.file is None:
        raise InvalidRequest("Send the recording as a part `file` of a form, or its URL.", param="file")
    async with fetched(platform, body.file) as recording:
        yield body, recording


def _multipart(request: Request, content_type: str) -> MultipartForm | None:
    kind = content_type.split(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return None
    return MultipartForm(content_type, whole_body(request), lists=("timestamp_granularities",))


def _joined(fields: Mapping[str, str]) -> dict[str, str]:
    """Join lists that come as fields `name[]` or `name[0]` into one value with commas, as `name`."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        match = _LISTED.match(name)
        key = match[1] if match else name
        found[key] = f"{found[key]},{value}" if match and key in found else value
    return found


def _from_json(kind: type[_Body], value: Any) -> _Body:
    """Validate a body of JSON, which batches send."""
    if value is None:
        raise InvalidRequest("Send a body of multipart/form-data, or JSON with the URL of the recording.")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        complaints = [{**complaint, "loc": ("body", *complaint["loc"])} for complaint in error.errors()]
        raise RequestValidationError(complaints, body=value) from error
