"""Answers of the files routes."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tutti.features.answers import answer
from tutti.features.files.shapes import dialect, shown
from tutti.features.files.uploads import Duplicate
from tutti.http.errors import from_exception
from tutti.store.records import File

PATIENCE_S = 20.0
"""Well below the 60 s for which the 3.x client waits for a byte."""


def file_answer(request: Request, file: File) -> Response:
    return answer(shown(file, dialect(request)))


def duplicate(known: Duplicate) -> Response:
    """Return the 409 whose body the 2.x and 3.x clients look for. Without its header they would try again."""
    message = f"There is a file with these bytes and this purpose already: {known.file_id}."
    error = {"message": message, "type": "conflict_error", "param": "checksum", "code": "file_exists"}
    refusal = answer({"file_id": known.file_id, "error": error}, 409)
    refusal.headers["x-should-retry"] = "false"
    return refusal


async def patiently(work: Coroutine[Any, Any, Any], patience_s: float = PATIENCE_S) -> Response:
    """Answer with the result of `work` as JSON. If it takes longer than `patience_s`, send spaces meanwhile,
    which JSON may begin with, so that no client gives up; an error is then the body of a 200."""
    task = asyncio.create_task(work)
    if (await asyncio.wait({task}, timeout=patience_s))[0]:
        return answer(task.result())
    return StreamingResponse(_spaces(task, patience_s), media_type="application/json")


async def _spaces(task: asyncio.Task[Any], patience_s: float) -> AsyncIterator[bytes]:
    try:
        while not task.done():
            yield b" "
            await asyncio.wait({task}, timeout=patience_s)
        try:
            yield msgspec.json.encode(task.result())
        except Exception as error:
            yield msgspec.json.encode(from_exception(error).body())
    finally:
        task.cancel()
