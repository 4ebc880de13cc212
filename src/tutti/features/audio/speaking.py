"""GET /audio/speech/websocket: text in as it is written, speech out as it is made.

An item is what is said up to a commit. Text is cut into sentences, which are spoken one after the other; a
client that does not read has them wait. A clear drops what is not spoken yet and ends the item.
"""

import asyncio
import base64
from collections import deque
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket

from tutti.access.caller import Caller
from tutti.base.errors import InvalidRequest, NotFound, TuttiError
from tutti.base.ids import new_id
from tutti.base.languages import FORM, locale
from tutti.base.model import Model
from tutti.engines.audio import SpeechCall
from tutti.features.audio.queries import read_query
from tutti.features.audio.sentences import cut, sayable
from tutti.features.audio.service import in_chunks, speaker, spoken
from tutti.features.audio.socket import Places, Socket, both, session
from tutti.features.audio.speaking_events import Append, Clear, Commit, Event, Settings, Updated
from tutti.features.audio.voices import voice_of
from tutti.features.metered import metered
from tutti.http.context import caller
from tutti.platform import Platform

DEFAULT_MODEL = "hexgrad/Kokoro-82M"
MAX_PARTIAL = 250
_RATE_HZ = 24_000
_DELTA_BYTES = 24_000
"""Half a second: many WebSocket clients take messages of a megabyte at most."""


@dataclass(frozen=True)
class _Sentence:
    item: str
    call: SpeechCall


@dataclass(frozen=True)
class _Done:
    item: str


async def converse(platform: Platform, websocket: WebSocket, places: Places) -> None:
    async with session(websocket, platform.settings.socket_idle_s) as socket:
        with places.taken(socket):
            given = read_query(websocket.query_params, Settings)
            who = caller(websocket)
            talk = _Talk(platform, socket, who, await _named(platform, given.model or DEFAULT_MODEL, who))
            talk.change(given)
            websocket.scope["state"]["model"] = talk.model.name
            await socket.send(talk.created())
            await both(asyncio.create_task(talk.hear()), asyncio.create_task(talk.speak()))


def _locale(code: str) -> str:
    """Raises InvalidRequest."""
    if (tag := locale(code)) is None:
        raise InvalidRequest(f"`language` should be {FORM}.", param="language")
    return tag.lower()


async def _named(platform: Platform, name: str, who: Caller) -> Model:
    try:
        return await speaker(platform, name, who.project_id)
    except InvalidRequest as error:
        raise NotFound(error.message, param="model") from error


class _Talk:
    def __init__(self, platform: Platform, socket: Socket, who: Caller, model: Model) -> None:
        self.model = model
        self._platform = platform
        self._socket = socket
        self._who = who
        self._id = new_id("sess")
        self._voice: str | None = None
        self._language = "en"
        self._most = MAX_PARTIAL
        self._pronunciation: tuple[str, ...] = ()
        self._buffer = ""
        self._items = 0
        self._item = ""
        self._waiting: deque[_Sentence | _Done] = deque()
        self._some = asyncio.Event()
        self._speaking: asyncio.Task[None] | None = None

    def change(self, given: Settings) -> None:
        self._language = _locale(given.language) if given.language else self._language
        self._voice = given.voice or self._voice
        self._most = given.max_partial_length or self._most
        if given.extra_params is not None:
            self._pronunciation = tuple(given.extra_params.pronunciation_dict or ())

    def created(self) -> dict[str, Any]:
        return {"event_id": new_id("evt"), "type": "session.created", "session": self._shown()}

    async def hear(self) -> None:
        while True:
            event: Event = await self._socket.receive(Event)
            self._socket.active()
            try:
                await self._take(event)
            except TuttiError as error:
                await self._socket.mistake(error)

    async def speak(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                work = self._waiting.popleft()
                self._speaking = asyncio.create_task(self._say(work), name=work.item)
                with self._socket.working():
                    await _settled(self._speaking)
                if not self._speaking.cancelled():
                    self._speaking.result()

    async def _take(self, event: Event) -> None:
        match event:
            case Updated():
                await self._update(event.session)
            case Append():
                await self._append(event.text)
            case Clear():
                await self._clear()
            case Commit():
                self._commit()

    async def _update(self, given: Settings) -> None:
        model = await _named(self._platform, given.model, self._who) if given.model else self.model
        self.change(given)
        self.model = model
        await self._socket.send({"type": "tts_session.updated", "session": self._shown()})

    async def _append(self, text: str) -> None:
        most = self._platform.settings.max_speech_chars
        waiting = sum(len(it.call.text) for it in self._waiting if isinstance(it, _Sentence))
        if waiting + len(self._buffer) + len(text) > most:
            raise InvalidRequest(
                f"More than {most} characters would wait to be spoken.", param="text", code="buffer_full"
            )
        await self._socket.send({"type": "conversation.item.input_text.received", "text": text})
        sentences, self._buffer = cut(self._buffer + text, self._most)
        for sentence in sentences:
            self._enqueue(sentence)

    def _commit(self) -> None:
        """Ends the item, even one of which nothing was said: the client waits for that."""
        if self._buffer.strip():
            self._enqueue(self._buffer.strip())
        self._buffer = ""
        self._waiting.append(_Done(self._begun()))
        self._item = ""
        self._some.set()

    async def _clear(self) -> None:
        """The items that were begun end here."""
        self._buffer = ""
        waiting, self._item = [*(it.item for it in self._waiting), self._item], ""
        self._waiting.clear()
        items = [*await self._hush(), *waiting]
        for item in filter(None, dict.fromkeys(items)):
            await self._socket.send(_done(item))

    async def _hush(self) -> list[str]:
        """The item that was being spoken."""
        if self._speaking is None or self._speaking.done():
            return []
        self._speaking.cancel()
        await asyncio.wait({self._speaking})
        return [self._speaking.get_name()]

    def _enqueue(self, text: str) -> None:
        if not sayable(text, self._pronunciation):
            return
        call = SpeechCall(
            model=self.model,
            text=text,
            voice=voice_of(self.model, self._voice, self._platform.settings.voice_aliases),
            language=self._language,
            response_format="raw",
            sample_rate_hz=_RATE_HZ,
            pronunciation=self._pronunciation,
        )
        self._waiting.append(_Sentence(self._begun(), call))
        self._some.set()

    def _begun(self) -> str:
        if not self._item:
            self._items += 1
            self._item = f"tts_{self._items}"
        return self._item

    async def _say(self, work: _Sentence | _Done) -> None:
        if isinstance(work, _Done):
            await self._socket.send(_done(work.item))
            return
        try:
            with (
                metered(self._platform.meter, self._who, work.call.model, "speech") as tally,
                suppress(asyncio.CancelledError),  # to be interrupted is no failure
            ):
                async with aclosing(spoken(self._platform, work.call, self._who.project_id)) as pieces:
                    async for chunk in in_chunks(pieces, _DELTA_BYTES, 2):
                        tally.piece()
                        self._socket.active()
                        await self._socket.send(_delta(work.item, chunk))
        except TuttiError as error:
            await self._socket.tell(error, item_id=work.item)

    def _shown(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "realtime.tts.session",
            "modalities": ["text", "audio"],
            "model": self.model.name,
            "voice": self._voice or next(iter(self.model.voices), None),
            "language": self._language,
            "max_partial_length": self._most,
            "extra_params": {"pronunciation_dict": list(self._pronunciation)},
        }


def _delta(item: str, audio: bytes) -> dict[str, Any]:
    delta = base64.b64encode(audio).decode()
    return {"type": "conversation.item.audio_output.delta", "item_id": item, "delta": delta}


def _done(item: str) -> dict[str, Any]:
    return {"type": "conversation.item.audio_output.done", "item_id": item}


async def _settled(task: asyncio.Task[None]) -> None:
    """Waits for its end, and brings it about if this is cancelled."""
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
