"""GET /audio/speech/websocket: text in as it is written, speech out as it is made.

The text up to a commit is an item. It is cut into sentences, which are spoken one after the other; they wait
while the client does not read. A clear drops what is not spoken yet, and ends the item.
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
from tutti.features.audio.socket import Places, Socket, accepted, until_one_ends
from tutti.features.audio.speaking_events import Append, Clear, Commit, Event, SpeechSettings, Updated
from tutti.features.audio.voices import voice_of
from tutti.features.metered import metered
from tutti.http.context import caller, log_model
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
    """Serve one session on a WebSocket, from its acceptance to its end."""
    async with accepted(websocket, platform.settings.socket_idle_s) as socket:
        with places.taken(socket):
            given = read_query(websocket.query_params, SpeechSettings)
            who = caller(websocket)
            model = await _speaking_model(platform, given.model or DEFAULT_MODEL, who)
            session = _Session(platform, socket, who, model)
            session.change(given)
            log_model(websocket, model.name)
            await socket.send(session.created())
            await until_one_ends(
                asyncio.create_task(session.take_events()), asyncio.create_task(session.speak())
            )


def _locale(code: str) -> str:
    """Return a language as engines take it. Raise InvalidRequest for an unknown one."""
    if (tag := locale(code)) is None:
        raise InvalidRequest(f"`language` should be {FORM}.", param="language")
    return tag.lower()


async def _speaking_model(platform: Platform, name: str, who: Caller) -> Model:
    try:
        return await speaker(platform, name, who.project_id)
    except InvalidRequest as error:
        raise NotFound(error.message, param="model") from error


class _Session:
    """One client's session: its settings, its unfinished text, and the sentences that wait."""

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
        self._has_work = asyncio.Event()
        self._speaking: asyncio.Task[None] | None = None

    def change(self, given: SpeechSettings) -> None:
        self._language = _locale(given.language) if given.language else self._language
        self._voice = given.voice or self._voice
        self._most = given.max_partial_length or self._most
        if given.extra_params is not None:
            self._pronunciation = tuple(given.extra_params.pronunciation_dict or ())

    def created(self) -> dict[str, Any]:
        return {"event_id": new_id("evt"), "type": "session.created", "session": self._description()}

    async def take_events(self) -> None:
        """Take the client's events, until it leaves."""
        while True:
            event: Event = await self._socket.receive(Event)
            self._socket.note_activity()
            try:
                await self._take(event)
            except TuttiError as error:
                await self._socket.send_mistake(error)

    async def speak(self) -> None:
        """Speak what waits, one sentence after the other."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._waiting:
                work = self._waiting.popleft()
                self._speaking = asyncio.create_task(self._say(work), name=work.item)
                with self._socket.working():
                    await _wait_or_cancel(self._speaking)
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

    async def _update(self, given: SpeechSettings) -> None:
        model = await _speaking_model(self._platform, given.model, self._who) if given.model else self.model
        self.change(given)
        self.model = model
        await self._socket.send({"type": "tts_session.updated", "session": self._description()})

    async def _append(self, text: str) -> None:
        most = self._platform.settings.max_speech_chars
        waiting = sum(len(work.call.text) for work in self._waiting if isinstance(work, _Sentence))
        if waiting + len(self._buffer) + len(text) > most:
            raise InvalidRequest(
                f"More than {most} characters would wait to be spoken.", param="text", code="buffer_full"
            )
        await self._socket.send({"type": "conversation.item.input_text.received", "text": text})
        sentences, self._buffer = cut(self._buffer + text, self._most)
        for sentence in sentences:
            self._enqueue(sentence)

    def _commit(self) -> None:
        """End the item, even one of which nothing is to be spoken: the client waits for that."""
        if self._buffer.strip():
            self._enqueue(self._buffer.strip())
        self._buffer = ""
        self._waiting.append(_Done(self._current_item()))
        self._item = ""
        self._has_work.set()

    async def _clear(self) -> None:
        """Drop what is not spoken yet, and end the items that were begun."""
        self._buffer = ""
        waiting, self._item = [*(work.item for work in self._waiting), self._item], ""
        self._waiting.clear()
        items = [*await self._interrupt(), *waiting]
        for item in filter(None, dict.fromkeys(items)):
            await self._socket.send(_done(item))

    async def _interrupt(self) -> list[str]:
        """Stop speaking, and return the item that was being spoken, if there was one."""
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
        self._waiting.append(_Sentence(self._current_item(), call))
        self._has_work.set()

    def _current_item(self) -> str:
        """Return the id of the current item, and begin one if there is none."""
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
                        self._socket.note_activity()
                        await self._socket.send(_delta(work.item, chunk))
        except TuttiError as error:
            await self._socket.send_error(error, item_id=work.item)

    def _description(self) -> dict[str, Any]:
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


async def _wait_or_cancel(task: asyncio.Task[None]) -> None:
    """Wait until a task ends. If this is cancelled, cancel the task and wait for its end."""
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
