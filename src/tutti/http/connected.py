"""Work that ends when the client leaves."""

import asyncio
from types import TracebackType

from starlette.types import Receive


class Connected:
    """Cancels the work done within as soon as the client leaves, and ends that cancellation, as
    asyncio.timeout does.

    It cancels at once, not in the loop's next turn: by then the work, whose writes go nowhere any more, might
    have come to its end by itself, and would be cancelled in the middle of its cleaning up.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.left = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._watching = asyncio.create_task(self._watch())

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._watching.cancel()
        ended = self.left and self._task.uncancel() <= self._cancelling
        return ended and kind is asyncio.CancelledError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        self._task.cancel()
