"""GET /realtime: transcription of audio as it is spoken.

The engine finds the segments. Here its session is tied to the client's: the client's events become messages
to it, and what it hears becomes events. Audio is taken as fast as the engine has room for it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, cast

import msgspec
from starlette.websockets import WebSocket

from tutti.base.clock import now
from tutti.base.errors import InvalidRequest, NotFound, TuttiError, Unavailable
from tutti.base.ids import new_id
from tutti.engines import audio
from tutti.engines.audio import RealtimeCall, RealtimeEvent, RealtimeMessage
from tutti.engines.base import RealtimeDialect, Refusal
from tutti.features.audio.queries import read_query
from tutti.features.audio.realtime_events import (
    Append,
    Clear,
    Commit,
    Detection,
    Echo,
    Event,
    Query,
    Updated,
)
from tutti.features.audio.service import language_of, leased, listener
from tutti.features.audio.socket import Places, Socket, both, session
from tutti.features.metered import metered
from tutti.http.context import caller
from tutti.serving.dispatch import Lease
from tutti.serving.platform import Platform

_ITEM = "conversation.item.input_audio_transcription"
_RATES_HZ = MappingProxyType(
    {
        "pcm_s16le_16000": 16_000,
        "pcm_s16le_8000": 8_000,
        "pcm_s16le_24000": 24_000,
        "pcm_s16le": 24_000,
        "pcm_s16": 24_000,
        "pcm16": 24_000,
    }
)
"""By input_audio_format."""


async def listen(platform: Platform, websocket: WebSocket, places: Places) -> None:
    who = caller(websocket)
    async with session(websocket, platform.settings.socket_idle_s) as socket:
        with places.taken(socket):
            call = await _call(platform, dict(websocket.query_params), who.project_id)
            websocket.scope["state"]["model"] = call.model.name
            await socket.send(_created(call))
            with metered(platform.meter, who, call.model, "realtime"):
                async with leased(platform, call.model, who.project_id, live=True) as lease:
                    await _held(socket, lease, call)


async def _call(platform: Platform, query: Mapping[str, str], project_id: str) -> RealtimeCall:
    asked = read_query(query, Query)
    detection = read_query(query, Detection, type=asked.turn_detection)
    rate_hz = _RATES_HZ.get(asked.input_audio_format)
    if rate_hz is None:
        message = f"Unsupported format {asked.input_audio_format[:64]}: use one of {', '.join(_RATES_HZ)}."
        raise InvalidRequest(message, param="input_audio_format")
    try:
        model = await listener(platform, asked.model, project_id)
    except InvalidRequest as error:
        raise NotFound(error.message, param="model") from error
    return RealtimeCall(
        model=model,
        language=language_of(asked.language),
        prompt=asked.prompt,
        sample_rate_hz=rate_hz,
        turn_detection=detection.meant(),
    )


async def _held(socket: Socket, lease: Lease, call: RealtimeCall) -> None:
    dialect = lease.engine.realtime
    if dialect is None:
        raise NotFound(f"The engine of {call.model.name} cannot transcribe while it listens.", param="model")
    events = cast(AsyncGenerator[RealtimeEvent], dialect.listen(lease.upstream, call))
    async with aclosing(events):
        opened = await anext(events, None)
        if not isinstance(opened, audio.Opened):
            raise _broken()
        ear = _Ear(socket, dialect, lease, opened.session, call)
        await both(asyncio.create_task(ear.hear()), asyncio.create_task(ear.tell(events)))


class _Ear:
    def __init__(
        self, socket: Socket, dialect: RealtimeDialect, lease: Lease, name: str, call: RealtimeCall
    ) -> None:
        self._socket = socket
        self._dialect = dialect
        self._lease = lease
        self._name = name
        self._detection = call.turn_detection
        self._prompt = call.prompt
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
                case Updated():
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

    async def _send(self, message: RealtimeMessage) -> None:
        try:
            await self._dialect.send(self._lease.upstream, self._name, message)
        except Refusal as refusal:
            if refusal.status == 404:
                raise _broken() from refusal
            error = self._lease.engine.error(refusal)
            if not isinstance(error, InvalidRequest):
                raise error from refusal
            await self._socket.mistake(error)

    async def _update(self, event: Updated) -> None:
        given = event.session
        if isinstance(given.turn_detection, Detection):
            self._detection = given.turn_detection.meant()
        elif given.turn_detection is None:
            self._detection = None
        self._prompt = self._prompt if given.prompt is None else given.prompt
        await self._send(audio.Update(self._detection, self._prompt))
        shown = {"turn_detection": _shown(self._detection)}
        await self._socket.send({"type": "transcription_session.updated", "session": shown})

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


def _created(call: RealtimeCall) -> dict[str, Any]:
    shown = {
        "id": new_id("sess"),
        "object": "realtime.session",
        "modalities": ["audio"],
        "model": call.model.name,
        "turn_detection": _shown(call.turn_detection),
    }
    return {"event_id": new_id("evt"), "type": "session.created", "session": shown}


def _shown(detection: audio.TurnDetection | None) -> dict[str, Any] | None:
    return None if detection is None else {"type": "server_vad", **msgspec.structs.asdict(detection)}


def _echoed(event: Echo, received_at_ms: float) -> dict[str, Any]:
    given = {"echo_id": event.echo_id, "client_sent_at": event.client_sent_at, "payload": event.payload}
    times = {"server_received_at": received_at_ms, "server_sent_at": now() * 1000}
    return {"type": "echo.response", **given, **times}


def _broken() -> Unavailable:
    return Unavailable("The model stopped listening.", retry_after_s=1)
