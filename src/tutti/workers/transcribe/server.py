"""The worker's HTTP: transcriptions and translations as OpenAI's, live sessions, /health and /progress."""

import time
from typing import Any, Literal

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from tutti.workers.transcribe.decode import BadAudio
from tutti.workers.transcribe.forms import BadRequest, form, wanted
from tutti.workers.transcribe.live import live_routes
from tutti.workers.transcribe.recording import Transcriber

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_TICK_S = 5  # a large model on a small machine is in one call for minutes: that it computes is its progress


def application(transcriber: Transcriber) -> web.Application:
    async def transcriptions(request: web.Request) -> web.Response:
        return await _recording(transcriber, request, "transcribe")

    async def translations(request: web.Request) -> web.Response:
        return await _recording(transcriber, request, "translate")

    async def progress(_: web.Request) -> web.Response:
        work = transcriber.whisper.work
        return _answer({"busy": work.busy, "done": work.done + int(time.process_time() / _TICK_S)})

    async def health(_: web.Request) -> web.Response:
        return _answer({"status": "ok"})

    app = web.Application(client_max_size=_MAX_MESSAGE_BYTES, middlewares=[_errors])
    app.add_routes([web.post("/v1/audio/transcriptions", transcriptions)])
    app.add_routes([web.post("/v1/audio/translations", translations)])
    app.add_routes([web.get("/progress", progress), web.get("/health", health)])
    app.add_routes(live_routes(transcriber))
    return app


async def _recording(
    transcriber: Transcriber, request: web.Request, task: Literal["transcribe", "translate"]
) -> web.Response:
    async with form(request) as (fields, path):
        if fields.diarize and not transcriber.can_diarize:
            raise BadRequest(
                "This model comes without an encoder of voices: speakers can't be told apart.", "diarize"
            )
        return _answer(await transcriber.transcribe(path, wanted(fields, task)))


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadAudio as error:
        return _error(str(error), "file", error.code)
    except BadRequest as error:
        return _error(str(error), error.param)
    except msgspec.MsgspecError as error:
        return _error(str(error), None)


def _error(message: str, param: str | None, code: str | None = None) -> web.Response:
    body = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return _answer({"error": body}, status=400)


def _answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
