"""What a live session has been sent and has not worked on yet: bounded, so that who sends faster waits."""

import asyncio

from tutti.workers.transcribe.messages import Append, Clear, Message


class Gone(Exception):
    """The session has ended."""


class Inbox:
    """`get` is for one task; every message it gives must be followed by `handled`."""

    def __init__(self, max_bytes: int) -> None:
        self._messages: asyncio.Queue[tuple[int, Message]] = asyncio.Queue()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._clears = 0
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False

    async def put(self, message: Message) -> None:
        """Returns once there is room for it. Raises Gone."""
        if isinstance(message, Append):
            await self._room.wait()
            self._count(len(message.audio))
        elif isinstance(message, Clear):
            self._clears += 1
        if self._ended:
            raise Gone
        self._messages.put_nowait((self._clears, message))

    async def get(self) -> Message:
        """Leaves out sound that was cleared before its turn came."""
        while True:
            clears, message = await self._messages.get()
            if clears == self._clears or not isinstance(message, Append):
                return message
            self.handled(message)

    def handled(self, message: Message) -> None:
        if isinstance(message, Append):
            self._count(-len(message.audio))

    def end(self) -> None:
        self._ended = True
        self._room.set()

    def _count(self, more: int) -> None:
        self._bytes += more
        if self._bytes < self._max_bytes or self._ended:
            self._room.set()
        else:
            self._room.clear()
