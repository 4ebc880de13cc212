"""The messages that a live session has yet to handle.

The size is bounded: whoever sends too fast has to wait.
"""

import asyncio

from tutti.workers.transcribe.messages import Append, Clear, Message


class Gone(Exception):
    """The session has ended."""


class Inbox:
    """A bounded queue of messages.

    Only one task calls `get`, and calls `handled` with each message afterwards.
    """

    def __init__(self, max_bytes: int) -> None:
        self._messages: asyncio.Queue[tuple[int, Message]] = asyncio.Queue()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._clears = 0
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False

    async def put(self, message: Message) -> None:
        """Add a message, and wait first until there is room for its audio.

        Raises Gone if the session has ended.
        """
        if isinstance(message, Append):
            await self._room.wait()
            self._count(len(message.audio))
        elif isinstance(message, Clear):
            self._clears += 1
        if self._ended:
            raise Gone
        self._messages.put_nowait((self._clears, message))

    async def get(self) -> Message:
        """Return the next message. Audio that a later Clear has discarded is skipped."""
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
