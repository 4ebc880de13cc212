"""GET /realtime: transcription of audio as it is spoken.

The engine finds the segments. Here its session is tied to the client's: the client's events become messages
to the engine, and what the engine transcribes becomes events for the client. Audio is read as fast as the
engine has room for it.
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
from tutti.features.audio.realtime_session import RealtimeSession
from tutti.features.audio.service import language_of, leased, listener
from tutti.features.audio.socket import Places, Socket, accepted, until_one_ends
from tutti.features.metered import metered
from tutti.http.context import caller, family, log_model
from tutti.platform import Platform

_ITEM = "conversation.item.input_audio_transcription"


async def listen(platform: Platform, websocket: WebSocket, places: Places) -> None:
    """Serve one session on a WebSocket, from its acceptance to its end."""
    who = caller(websocket)
    async with accepted(websocket, platform.settings.socket_idle_s) as socket:
        with places.taken(socket):
            session = await _session(platform, _query(websocket), who.project_id)
            call = session.call
            log_model(websocket, call.model.name)
            await socket.send(_session_event("session.created", session.created()))
            with metered(platform.meter, who, call.model, "realtime"):
                async with AsyncExitStack() as stack:
                    async with socket.watched():
                        lease = await stack.enter_async_context(
                            leased(platform, call.model, who.project_id, live=True)
                        )
                    await _transcribe(socket, lease, session)


def _query(websocket: WebSocket) -> dict[str, str]:
    """Return the query with its default format: OpenAI's clients name none, and send 24 kHz."""
    default = {"input_audio_format": "pcm16" if family(websocket) == "openai" else "pcm_s16le_16000"}
    return default | {name: value for name, value in websocket.query_params.items() if value}


async def _session(platform: Platform, query: Mapping[str, str], project_id: str) -> RealtimeSession:
    """Return the session that a query asks for. Raise InvalidRequest, or NotFound for the model."""
    options = read_query(query, Query)
    detection = read_query(query, Detection, type=options.turn_detection)
    rate_hz = RATES_HZ.get(options.input_audio_format)
    if rate_hz is None:
        message = f"Unsupported format {options.input_audio_format[:64]}: use one of {', '.join(RATES_HZ)}."
        raise InvalidRequest(message, param="input_audio_format")
    try:
        model = await listener(platform, options.model, project_id)
    except InvalidRequest as error:
        raise NotFound(error.message, param="model") from error
    call = RealtimeCall(
        model=model,
        language=language_of(options.language),
        prompt=options.prompt,
        sample_rate_hz=rate_hz,
        turn_detection=detection.for_engine(),
    )
    return RealtimeSession(options.model, call)


async def _transcribe(socket: Socket, lease: Lease, session: RealtimeSession) -> None:
    """Tie the client to a session of the engine, until one of the two ends."""
    call = session.call
    dialect = lease.engine.realtime
    if dialect is None:
        raise NotFound(f"The engine of {call.model.name} cannot transcribe while it listens.", param="model")
    events = cast(AsyncGenerator[RealtimeEvent], dialect.listen(lease.upstream, call))
    async with aclosing(events):
        opened = await anext(events, None)
        if not isinstance(opened, audio.Opened):
            raise _engine_gone()
        bridge = _Bridge(socket, dialect, lease, opened.session, session)
        await until_one_ends(
            asyncio.create_task(bridge.forward_client_events()),
            asyncio.create_task(bridge.forward_engine_events(events)),
        )


class _Bridge:
    """Forwards events between a client and the session called `engine_session` of an engine."""

    def __init__(
        self,
        socket: Socket,
        dialect: RealtimeDialect,
        lease: Lease,
        engine_session: str,
        session: RealtimeSession,
    ) -> None:
        self._socket = socket
        self._dialect = dialect
        self._lease = lease
        self._engine_session = engine_session
        self._session = session
        self._items = 1

    async def forward_client_events(self) -> None:
        """Forward the client's events to the engine, until the client leaves."""
        while True:
            event: Event = await self._socket.receive(Event)
            match event:
                case Append():
                    self._socket.note_activity()
                    await self._send(audio.Append(event.audio))
                case Commit():
                    self._socket.note_activity()
                    await self._send(audio.Commit())
                case Clear():
                    await self._send(audio.Clear())
                case Updated() | SessionUpdate() | BetaUpdate():
                    await self._update(event)
                case Echo():
                    await self._socket.send(_echo_response(event, now() * 1000))

    async def forward_engine_events(self, events: AsyncIterator[RealtimeEvent]) -> None:
        """Forward the engine's events to the client. Raise Unavailable if they end by themselves."""
        async for event in events:
            match event:
                case audio.Delta():
                    await self._socket.send(self._item("delta", delta=event.text))
                case audio.Completed():
                    await self._socket.send(self._completed(event))
                    self._items += 1
                case audio.Failed():
                    await self._send_failure(Unavailable(event.message))
                case audio.Processed():
                    await self._socket.send(
                        {"type": "input_audio_buffer.processed", "processed_ms": event.ms}
                    )
                case audio.Opened():
                    raise _engine_gone()
        raise _engine_gone()

    async def _send(self, message: RealtimeMessage) -> bool:
        """Send the engine a message. Return False if it refuses it as the client's mistake, after telling the
        client."""
        try:
            await self._dialect.send(self._lease.upstream, self._engine_session, message)
        except Refusal as refusal:
            if refusal.status == 404:
                raise _engine_gone() from refusal
            error = self._lease.engine.error(refusal)
            if not isinstance(error, InvalidRequest):
                raise error from refusal
            await self._socket.send_mistake(error)
            return False
        return True

    async def _update(self, event: Update) -> None:
        try:
            session = self._session.changed(event.session)
        except InvalidRequest as error:
            await self._socket.send_mistake(error)
            return
        call = session.call
        if await self._send(audio.Update(call.turn_detection, call.prompt, call.language)):
            self._session = session
            await self._socket.send(self._updated(event))

    def _updated(self, event: Update) -> dict[str, Any]:
        match event:
            case Updated():
                return {"type": "transcription_session.updated", "session": self._session.in_together_shape()}
            case SessionUpdate():
                return _session_event("session.updated", self._session.in_openai_shape())
            case BetaUpdate():
                return _session_event("transcription_session.updated", self._session.in_openai_shape())

    async def _send_failure(self, error: TuttiError) -> None:
        """Send the error of one item. Its `event_type` shows the client that the session goes on."""
        await self._socket.send_error(error, item_id=f"item_{self._items}", event_type="completed")
        self._items += 1

    def _completed(self, event: audio.Completed) -> dict[str, Any]:
        times = {"start": event.start_s, "duration": event.duration_s}
        known = {name: value for name, value in times.items() if value is not None}
        return self._item("completed", transcript=event.text, **known)

    def _item(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": f"{_ITEM}.{kind}", "item_id": f"item_{self._items}", **fields}


def _session_event(kind: str, session: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": new_id("evt"), "type": kind, "session": session}


def _echo_response(event: Echo, received_at_ms: float) -> dict[str, Any]:
    given = {"echo_id": event.echo_id, "client_sent_at": event.client_sent_at, "payload": event.payload}
    times = {"server_received_at": received_at_ms, "server_sent_at": now() * 1000}
    return {"type": "echo.response", **given, **times}


def _engine_gone() -> Unavailable:
    return Unavailable("The model stopped listening.", retry_after_s=1)
