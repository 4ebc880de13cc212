"""The HTTP routes: transcriptions and translations as in OpenAI's API, live sessions, and the common ones."""

import time
from typing import Literal

from aiohttp import web

from tutti.workers import http
from tutti.workers.http import Refused
from tutti.workers.transcribe.decode import BadAudio
from tutti.workers.transcribe.forms import form, wanted
from tutti.workers.transcribe.live import live_routes
from tutti.workers.transcribe.recording import Transcriber

_TICK_S = 5  # one call of a large model on a small machine takes minutes, so CPU time counts as progress


def application(transcriber: Transcriber) -> web.Application:
    async def transcriptions(request: web.Request) -> web.Response:
        return await _recording(transcriber, request, "transcribe")

    async def translations(request: web.Request) -> web.Response:
        return await _recording(transcriber, request, "translate")

    def progress() -> dict[str, int]:
        work = transcriber.whisper.work
        return {"busy": work.busy, "done": work.done + int(time.process_time() / _TICK_S)}

    routes = [
        web.post("/v1/audio/transcriptions", transcriptions),
        web.post("/v1/audio/translations", translations),
        *live_routes(transcriber),
    ]
    return http.application(routes, progress)


async def _recording(
    transcriber: Transcriber, request: web.Request, task: Literal["transcribe", "translate"]
) -> web.Response:
    async with form(request) as (fields, path):
        if fields.diarize and not transcriber.can_diarize:
            raise Refused(
                "This model comes without an encoder of voices: speakers can't be told apart.", "diarize"
            )
        try:
            return http.answer(await transcriber.transcribe(path, wanted(fields, task)))
        except BadAudio as error:
            raise Refused(str(error), "file", error.code) from error
