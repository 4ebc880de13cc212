"""The HTTP routes: POST /v1/audio/speech as in OpenAI's API with Together's fields, and the common ones."""

from contextlib import aclosing

import msgspec
from aiohttp import web

from tutti.workers import http
from tutti.workers.speech.encode import FORMS
from tutti.workers.speech.speaker import Speaker, SpeechRequest


def application(speaker: Speaker) -> web.Application:
    async def speech(request: web.Request) -> web.StreamResponse:
        wanted = msgspec.json.decode(await request.read(), type=SpeechRequest)
        async with aclosing(speaker.speak(wanted)) as audio:
            first = await anext(audio)  # raises Refused before the response's headers are sent
            response = web.StreamResponse()
            response.content_type = _content_type(wanted)
            await response.prepare(request)
            await response.write(first)
            async for data in audio:
                await response.write(data)
        await response.write_eof()
        return response

    return http.application(
        [web.post("/v1/audio/speech", speech)], lambda: {"busy": speaker.busy, "done": speaker.done}
    )


def _content_type(wanted: SpeechRequest) -> str:
    form = FORMS.get(wanted.response_format)
    return form.content_type if form else "application/octet-stream"
