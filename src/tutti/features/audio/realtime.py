"""GET /realtime: transcription of audio as it is spoken.

The engine finds the segments. Here its session is tied to the client's: the client's events become messages
to it, and what it hears becomes events. Audio is taken as fast as the engine has room for it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast

from starlette.websockets import WebSocket

from tutti.base.clock import now
from tutti.base.errors import InvalidRequest, NotFound, TuttiError, Unavailable
from tutti.base.ids import new_id
from tutti.dispatch.dispatch import Lease
from tutti.engines import audio
from tutti.engines.audio import RealtimeCall, RealtimeEvent, RealtimeMessage
from tutti.engines.dialects import RealtimeDialect
from tutti.engines.upstream import Refusal
from tutti.features.audio.queries import read_query
from tutti.features.audio.realtime_events import (
    RATES_HZ,
    Append,
    BetaUpdate,
    Clear,
    Commit,
    Detection,
    Echo,
    Event,
    Query,
    SessionUpdate,
    Update,
    Updated,
)
from tutti.features.audio.realtime_session import Session
from tutti.features.audio.service import language_of, leased, listener
from tutti.features.audio.socket import Places, Socket, both, session
from tutti.features.metered import metered
from tutti.http.context import caller, family
from tutti.platform import Platform

_ITEM = "conversation.item.input_audio_transcription"


async def listen(platform: Platform, websocket: WebSocket, places: Places) -> None:
    who = caller(websocket)
    async with session(websocket, platform.settings.socket_idle_s) as socket:
        with places.taken(socket):
            asked = await _asked(platform, _query(websocket), who.project_id)
            call = asked.call
            websocket.scope["state"]["model"] = call.model.name
            await socket.send(_told("session.created", asked.created()))
            with metered(platform.meter, who, call.model, "realtime"):
                async with AsyncExitStack() as stack:
                    async with socket.watched():
                        lease = await stack.enter_async_context(
                            leased(platform, call.model, who.project_id, live=True)
                        )
                    await _held(socket, lease, asked)


def _query(websocket: WebSocket) -> dict[str, str]:
    """openai's clients name no format, and send 24 kHz."""
    default = {"input_audio_format": "pcm16" if family(websocket) == "openai" else "pcm_s16le_16000"}
    return default | {name: value for name, value in websocket.query_params.items() if value}


async def _asked(platform: Platform, query: Mapping[str, str], project_id: str) -> Session:
    asked = read_query(query, Query)
    detection = read_query(query, Detection, type=asked.turn_detection)
    rate_hz = RATES_HZ.get(asked.input_audio_format)
    if rate_hz is None:
        message = f"Unsupported format {asked.input_audio_format[:64]}: use one of {', '.join(RATES_HZ)}."
        raise InvalidRequest(message, param="input_audio_format")
    try:
        model = await listener(platform, asked.model, project_id)
    except InvalidRequest as error:
        raise NotFound(error.message, param="model") from error
    call = RealtimeCall(
        model=model,
        language=language_of(asked.language),
        prompt=asked.prompt,
        sample_rate_hz=rate_hz,
        turn_detection=detection.meant(),
    )
    return Session(asked.model, call)


async def _held(socket: Socket, lease: Lease, asked: Session) -> None:
    call = asked.call
    dialect = lease.engine.realtime
    if dialect is None:
        raise NotFound(f"The engine of {call.model.name} cannot transcribe while it listens.", param="model")
    events = cast(AsyncGenerator[RealtimeEvent], dialect.listen(lease.upstream, call))
    async with aclosing(events):
        opened = await anext(events, None)
        if not isinstance(opened, audio.Opened):
            raise _broken()
        ear = _Ear(socket, dialect, lease, opened.session, asked)
        await both(asyncio.create_task(ear.hear()), asyncio.create_task(ear.tell(events)))


class _Ear:
    def __init__(
        self, socket: Socket, dialect: RealtimeDialect, lease: Lease, name: str, asked: Session
    ) -> None:
        self._socket = socket
        self._dialect = dialect
        self._lease = lease
        self._name = name
        self._asked = asked
        self._items = 1

    async def hear(self) -> None:
        """The client's side, until it ends."""
        while True:
            event: Event = await self._socket.receive(Event)
            match event:
                case Append():
                    self._socket.active()
                    await self._send(audio.Append(event.audio))
                case Commit():
                    self._socket.active()
                    await self._send(audio.Commit())
                case Clear():
                    await self._send(audio.Clear())
                case Updated() | SessionUpdate() | BetaUpdate():
                    await self._update(event)
                case Echo():
                    await self._socket.send(_echoed(event, now() * 1000))

    async def tell(self, events: AsyncIterator[RealtimeEvent]) -> None:
        """The engine's side, which should never end by itself."""
        async for event in events:
            match event:
                case audio.Delta():
                    await self._socket.send(self._item("delta", delta=event.text))
                case audio.Completed():
                    await self._socket.send(self._completed(event))
                    self._items += 1
                case audio.Failed():
                    await self._lost(Unavailable(event.message))
                case audio.Processed():
                    await self._socket.send(
                        {"type": "input_audio_buffer.processed", "processed_ms": event.ms}
                    )
                case audio.Opened():
                    raise _broken()
        raise _broken()

    async def _send(self, message: RealtimeMessage) -> bool:
        """False where the engine refuses the message as the client's mistake, which is then told."""
        try:
            await self._dialect.send(self._lease.upstream, self._name, message)
        except Refusal as refusal:
            if refusal.status == 404:
                raise _broken() from refusal
            error = self._lease.engine.error(refusal)
            if not isinstance(error, InvalidRequest):
                raise error from refusal
            await self._socket.mistake(error)
            return False
        return True

    async def _update(self, event: Update) -> None:
        try:
            asked = self._asked.changed(event.session)
        except InvalidRequest as error:
            await self._socket.mistake(error)
            return
        call = asked.call
        if await self._send(audio.Update(call.turn_detection, call.prompt, call.language)):
            self._asked = asked
            await self._socket.send(self._updated(event))

    def _updated(self, event: Update) -> dict[str, Any]:
        match event:
            case Updated():
                return {"type": "transcription_session.updated", "session": self._asked.togethers()}
            case SessionUpdate():
                return _told("session.updated", self._asked.openais())
            case BetaUpdate():
                return _told("transcription_session.updated", self._asked.openais())

    async def _lost(self, error: TuttiError) -> None:
        """`event_type` says that it is about this item only, and not the end."""
        await self._socket.tell(error, item_id=f"item_{self._items}", event_type="completed")
        self._items += 1

    def _completed(self, event: audio.Completed) -> dict[str, Any]:
        times = {"start": event.start_s, "duration": event.duration_s}
        known = {name: value for name, value in times.items() if value is not None}
        return self._item("completed", transcript=event.text, **known)

    def _item(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": f"{_ITEM}.{kind}", "item_id": f"item_{self._items}", **fields}


def _told(kind: str, session: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": new_id("evt"), "type": kind, "session": session}


def _echoed(event: Echo, received_at_ms: float) -> dict[str, Any]:
    given = {"echo_id": event.echo_id, "client_sent_at": event.client_sent_at, "payload": event.payload}
    times = {"server_received_at": received_at_ms, "server_sent_at": now() * 1000}
    return {"type": "echo.response", **given, **times}


def _broken() -> Unavailable:
    return Unavailable("The model stopped listening.", retry_after_s=1)
