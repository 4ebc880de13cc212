"""A WebSocket of either API of audio: JSON events in and out, and errors as the API's own event."""

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
"""A client that reads nothing for so long is disconnected."""
_SILENT_S = 5.0
"""A session in which nothing happened for so long may be closed to make room for another."""
_MOST_MISTAKES = 16
_EARLY_CHARS = 1_000_000
"""Text that is kept while there is no model yet, about 20 seconds of sound: the rest waits at the client."""
_BINARY = 1003
_LOST = 1006


class Places:
    """The places for WebSockets in this process: its share of the limits of the whole server."""

    def __init__(self, settings: Settings) -> None:
        most, of_project = (
            -(-limit // settings.workers) for limit in (settings.max_sockets, settings.max_project_sockets)
        )
        self._shares = Shares.of(most, of_project)
        whole = Shares.of(settings.max_sockets, settings.max_project_sockets)
        self._limits = (
            f"A project may have {whole.most_of_project} WebSockets at once (max_project_sockets), "
            f"all together {whole.most} (max_sockets)."
        )
        self._sockets: set[Socket] = set()

    @contextmanager
    def taken(self, socket: "Socket") -> Generator[None]:
        """Take a place for a socket within the context. If there is none, close a silent socket for it.

        Raises RateLimited if none is silent.
        """
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
        return RateLimited(f"{message} {self._limits}", code="too_many_sessions", retry_after_s=_SILENT_S)


class Socket:
    """The connection to one client.

    All methods raise WebSocketDisconnect once the session is over, whichever side has ended it. If the client
    is to know the reason, it has been sent before that.
    """

    def __init__(self, websocket: WebSocket, idle_s: float) -> None:
        self.project_id = caller(websocket).project_id
        self.used_at = monotonic_s()
        self._websocket = websocket
        self._path: str = websocket.scope["path"]
        self._idle_s = idle_s
        self._unread_s = min(_UNREAD_S, idle_s)
        self._mistakes = 0
        self._is_working = False
        self._waiting: asyncio.Timeout | None = None
        self._gives_way: TuttiError | None = None
        self._early = deque[Message]()

    @property
    def is_idle(self) -> bool:
        """True if this session may be closed to make room for another."""
        return not self._is_working and monotonic_s() - self.used_at > _SILENT_S

    def note_activity(self) -> None:
        """Note that something happened: the client is not idle."""
        self.used_at = monotonic_s()

    @contextmanager
    def working(self) -> Generator[None]:
        """Count the session as busy within the context: the client waits for us."""
        self._is_working = True
        try:
            yield
        finally:
            self._is_working = False
            self.note_activity()

    def give_way(self, why: TuttiError) -> None:
        """End the session, with this error, as soon as it waits for its client."""
        self._gives_way = why
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(0.0)

    async def receive(self, kind: Any) -> Any:
        """Return the next event, decoded as `kind`. Events that cannot be decoded are answered with an error.

        A client that is silent for too long, or makes too many mistakes, is disconnected.
        """
        while True:
            text = await self._text()
            try:
                return msgspec.json.decode(text, type=kind)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                await self.send_mistake(InvalidRequest(f"The event cannot be read: {error}."))

    async def send_mistake(self, error: TuttiError) -> None:
        """Send the client an error for its own mistake. The session goes on, until there are too many."""
        self._mistakes += 1
        if self._mistakes > _MOST_MISTAKES:
            await self.fail(InvalidRequest("Too many events could not be read."))
        await self.send_error(error)

    async def fail(self, error: TuttiError, code: int | None = None) -> NoReturn:
        """Send the client an error, and end the session."""
        code = code or close_code(error)
        await self.send_error(error)
        await self._close(code)
        raise WebSocketDisconnect(code)

    async def send_error(self, error: TuttiError, **more: Any) -> None:
        """Send the client an error. The session goes on, however often that happens."""
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
        """Raise WebSocketDisconnect within the context as soon as the client leaves.

        For times in which nothing else receives events: those that come are kept for `receive`.
        """
        here = asyncio.current_task()
        assert here is not None
        listening = asyncio.create_task(self._keep_early(here))
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

    async def _keep_early(self, waiting: asyncio.Task[Any]) -> None:
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
async def accepted(websocket: WebSocket, idle_s: float) -> AsyncGenerator[Socket]:
    """Accept a WebSocket, and close it at the end. Errors within the context are sent to the client first."""
    await websocket.accept()
    socket = Socket(websocket, idle_s)
    try:
        yield socket
    except WebSocketDisconnect:
        return
    except Exception as exc:
        with contextlib.suppress(WebSocketDisconnect):
            await socket.fail(from_exception(exc))


async def until_one_ends(first: asyncio.Task[Any], second: asyncio.Task[Any]) -> None:
    """Wait until one of the tasks ends, cancel the other, and raise what they raised."""
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
