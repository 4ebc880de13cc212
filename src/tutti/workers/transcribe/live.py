"""Live sessions over HTTP.

POST /realtime with an Opening starts a session. The response lasts as long as the session, with one event a
line. Messages go to POST /realtime/{session}, which answers once there is room for the message, or with 404
if the session has ended.
"""

import asyncio
import secrets
from contextlib import suppress

import msgspec
from aiohttp import web

from tutti.workers.http import Refused, answer, refusal
from tutti.workers.transcribe.inbox import Gone
from tutti.workers.transcribe.languages import whisper_code
from tutti.workers.transcribe.messages import Event, Message, Opened, Opening, Update
from tutti.workers.transcribe.recording import Transcriber
from tutti.workers.transcribe.session import Session


def live_routes(transcriber: Transcriber) -> list[web.RouteDef]:
    """Return the routes, which share a table of the running sessions."""
    sessions: dict[str, Session] = {}

    async def opened(request: web.Request) -> web.StreamResponse:
        opening = msgspec.json.decode(await request.read(), type=Opening)
        opening = msgspec.structs.replace(opening, language=whisper_code(opening.language))
        session, name = Session(transcriber, opening), secrets.token_hex(12)
        sessions[name] = session
        running = asyncio.create_task(session.run())
        try:
            return await _stream_events(request, session, name)
        finally:
            del sessions[name]
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def message(request: web.Request) -> web.Response:
        session = sessions.get(request.match_info["session"])
        if session is None:
            return _gone()
        try:
            await session.inbox.put(_decode_message(await request.read()))
        except Gone:
            return _gone()
        return answer({})

    return [web.post("/realtime", opened), web.post("/realtime/{session}", message)]


def _decode_message(data: bytes) -> Message:
    """Decode a message. Raises Refused for a language that Whisper does not know."""
    message = msgspec.json.decode(data, type=Message)
    if isinstance(message, Update):
        return msgspec.structs.replace(message, language=whisper_code(message.language))
    return message


async def _stream_events(request: web.Request, session: Session, name: str) -> web.StreamResponse:
    """Send the session's events until the client leaves or the session ends."""
    response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
    await response.prepare(request)
    await response.write(_line(Opened(name)))
    while event := await session.events.get():
        await response.write(_line(event))
    await response.write_eof()
    return response


def _line(event: Event) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def _gone() -> web.Response:
    return refusal(Refused("The session has ended."), status=404)
