"""POST /v1/audio/speech as OpenAI's, with Together's fields besides; GET /health and GET /progress."""

from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from tutti.workers.speech.encode import FORMS
from tutti.workers.speech.model import Refused
from tutti.workers.speech.speaker import Speaker, SpeechRequest

_MAX_BODY_BYTES = 64 * 1024 * 1024


def application(speaker: Speaker) -> web.Application:
    async def speech(request: web.Request) -> web.StreamResponse:
        wanted = msgspec.json.decode(await request.read(), type=SpeechRequest)
        async with aclosing(speaker.speak(wanted)) as audio:
            first = await anext(audio)  # what is refused is refused before the head is sent
            response = web.StreamResponse()
            response.content_type = _content_type(wanted)
            await response.prepare(request)
            await response.write(first)
            async for data in audio:
                await response.write(data)
        await response.write_eof()
        return response

    async def progress(_: web.Request) -> web.Response:
        return _answer({"busy": speaker.busy, "done": speaker.done})

    async def health(_: web.Request) -> web.Response:
        return _answer({"status": "ok"})

    app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[_errors])
    app.add_routes([web.post("/v1/audio/speech", speech)])
    app.add_routes([web.get("/progress", progress), web.get("/health", health)])
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return _refusal(str(refused), refused.param)
    except msgspec.MsgspecError as error:
        return _refusal(str(error), None)


def _refusal(message: str, param: str | None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return _answer({"error": error}, status=400)


def _content_type(wanted: SpeechRequest) -> str:
    form = FORMS.get(wanted.response_format)
    return form.content_type if form else "application/octet-stream"


def _answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
