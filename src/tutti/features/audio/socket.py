"""One WebSocket of either kind: events of JSON in and out, errors as the API's own event."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NoReturn

import msgspec
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from tutti.base.clock import monotonic_s
from tutti.base.errors import InvalidRequest, RateLimited, TuttiError
from tutti.base.settings import Settings
from tutti.base.shares import NoRoom, Shares
from tutti.http.context import caller
from tutti.http.errors import from_exception
from tutti.http.sockets import close_code, failure

_UNREAD_S = 30.0
"""A client that takes nothing for so long is dropped."""
_SILENT_S = 5.0
"""A session in which nothing went on for so long may have to give way to another."""
_MOST_MISTAKES = 16
_EARLY_CHARS = 1_000_000
"""Some 20 seconds of sound: more waits until there is a model for it."""
_BINARY = 1003
_LOST = 1006


class Places:
    """For the sockets of this process: its part of what there may be."""

    def __init__(self, settings: Settings) -> None:
        most, of_project = (
            -(-it // settings.workers) for it in (settings.max_sockets, settings.max_project_sockets)
        )
        self._shares = Shares.of(most, of_project)
        whole = Shares.of(settings.max_sockets, settings.max_project_sockets)
        self._told = (
            f"A project may have {whole.most_of_project} WebSockets at once (max_project_sockets), "
            f"all together {whole.most} (max_sockets)."
        )
        self._sockets: set[Socket] = set()

    @contextmanager
    def taken(self, socket: "Socket") -> Generator[None]:
        """Where there is no room, a silent one is closed. Raises RateLimited where none is silent."""
        try:
            gives_way = self._shares.giving_way(self._sockets, socket.project_id)
        except NoRoom as error:
            raise self._too_many("Too many sessions are open, and something goes on in each.") from error
        if gives_way is not None:
            self._sockets.remove(gives_way)
            gives_way.give_way(self._too_many("This silent session was closed to make room for a new one."))
        self._sockets.add(socket)
        try:
            yield
        finally:
            self._sockets.discard(socket)

    def _too_many(self, message: str) -> RateLimited:
        return RateLimited(f"{message} {self._told}", code="too_many_sessions", retry_after_s=_SILENT_S)


class Socket:
    """Raises WebSocketDisconnect once the session is over, whichever side has ended it: a client that is to
    know why has then been told."""

    def __init__(self, websocket: WebSocket, idle_s: float) -> None:
        self.project_id = caller(websocket).project_id
        self.used_at = monotonic_s()
        self._websocket = websocket
        self._path: str = websocket.scope["path"]
        self._idle_s = idle_s
        self._unread_s = min(_UNREAD_S, idle_s)
        self._mistakes = 0
        self._works = False
        self._waiting: asyncio.Timeout | None = None
        self._gives_way: TuttiError | None = None
        self._early = deque[Message]()

    @property
    def is_idle(self) -> bool:
        """Whether it may have to give way."""
        return not self._works and monotonic_s() - self.used_at > _SILENT_S

    def active(self) -> None:
        """Something went on: the client is not idle."""
        self.used_at = monotonic_s()

    @contextmanager
    def working(self) -> Generator[None]:
        """Until the end of this, the client waits for us."""
        self._works = True
        try:
            yield
        finally:
            self._works = False
            self.active()

    def give_way(self, why: TuttiError) -> None:
        """Ends the session as soon as it waits for its client."""
        self._gives_way = why
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(0.0)

    async def receive(self, kind: Any) -> Any:
        """The next event that is one: mistakes are answered. A client that is silent, or makes too many, is
        disconnected."""
        while True:
            text = await self._text()
            try:
                return msgspec.json.decode(text, type=kind)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                await self.mistake(InvalidRequest(f"The event cannot be read: {error}."))

    async def mistake(self, error: TuttiError) -> None:
        """Of the client, which is told; the session goes on, but not for ever."""
        self._mistakes += 1
        if self._mistakes > _MOST_MISTAKES:
            await self.fail(InvalidRequest("Too many events could not be read."))
        await self.tell(error)

    async def fail(self, error: TuttiError, code: int | None = None) -> NoReturn:
        """Tells the client, and ends the session."""
        code = code or close_code(error)
        await self.tell(error)
        await self._close(code)
        raise WebSocketDisconnect(code)

    async def tell(self, error: TuttiError, **more: Any) -> None:
        """The session goes on, however often."""
        await self.send_raw(failure(self._path, error, **more))

    async def send(self, event: Mapping[str, Any]) -> None:
        await self.send_raw(msgspec.json.encode(event))

    async def send_raw(self, event: bytes) -> None:
        try:
            async with asyncio.timeout(self._unread_s):
                await self._websocket.send_text(event.decode())
        except TimeoutError:
            raise WebSocketDisconnect(_LOST) from None

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Notices within the block that the client leaves, where nothing else listens to it. What it says
        meanwhile is kept for `receive`."""
        here = asyncio.current_task()
        assert here is not None
        listening = asyncio.create_task(self._keep(here))
        try:
            with self.working():
                yield
            listening.cancel()
            await asyncio.wait({listening})
        except asyncio.CancelledError:
            if self._early and _is_end(self._early[-1]) and here.uncancel() == 0:
                raise WebSocketDisconnect(_code(self._early[-1])) from None
            raise
        finally:
            listening.cancel()

    async def _keep(self, waiting: asyncio.Task[Any]) -> None:
        kept = 0
        while kept < _EARLY_CHARS:
            message = await self._websocket.receive()
            self._early.append(message)
            if _is_end(message):
                waiting.cancel()
                return
            kept += len(message.get("text") or "")

    async def _text(self) -> str:
        message = await self._message()
        if _is_end(message):
            raise WebSocketDisconnect(_code(message))
        text = message.get("text")
        if text is None:
            await self.fail(InvalidRequest("Events are text, not binary."), _BINARY)
        return text

    async def _message(self) -> Message:
        if self._early:
            return self._early.popleft()
        while self._gives_way is None and (left_s := self.used_at + self._idle_s - monotonic_s()) > 0:
            try:
                async with asyncio.timeout(left_s) as self._waiting:
                    return await self._websocket.receive()
            except TimeoutError:
                continue
            finally:
                self._waiting = None
        return await self.fail(self._gives_way or _idle(self._idle_s))

    async def _close(self, code: int) -> None:
        try:
            async with asyncio.timeout(self._unread_s):
                await self._websocket.close(code)
        except TimeoutError:
            raise WebSocketDisconnect(_LOST) from None


@asynccontextmanager
async def session(websocket: WebSocket, idle_s: float) -> AsyncGenerator[Socket]:
    """Accepts, and closes at the end; what is raised in between is told to the client first."""
    await websocket.accept()
    socket = Socket(websocket, idle_s)
    try:
        yield socket
    except WebSocketDisconnect:
        return
    except Exception as exc:
        with contextlib.suppress(WebSocketDisconnect):
            await socket.fail(from_exception(exc))


async def both(first: asyncio.Task[Any], second: asyncio.Task[Any]) -> None:
    """Until one of them ends, and the other was cancelled; raises what it raised."""
    try:
        await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (first, second):
            task.cancel()
        await asyncio.wait({first, second})
    errors = [task.exception() for task in (first, second) if not task.cancelled()]
    for error in filter(None, errors):
        raise error


def _is_end(message: Message) -> bool:
    return message["type"] == "websocket.disconnect"


def _code(end: Message) -> int:
    return end.get("code", 1005)


def _idle(idle_s: float) -> TuttiError:
    return InvalidRequest(f"Timeout: nothing came for {idle_s:g} s.", code="idle_timeout")
