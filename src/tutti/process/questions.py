"""A child program that answers questions over its pipes (`workers/questions`).

One at a time; each message is 4 bytes of length, then its bytes.
"""

import asyncio
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence

from tutti.process.pipes import end_piped, opened, start_piped


class NoAnswer(Exception):
    """The program did not survive the question. `status` is its exit status, negative if a signal ended it;
    None if it took too long and was ended here."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Answerer:
    """A program that is started when it is needed, and started again after it ended. It takes one question
    at a time: the caller lets questions wait for one another."""

    def __init__(self, argv: Sequence[str], patience_s: float) -> None:
        """Wait `patience_s` for an answer. The program limits its own CPU time: this is for a machine that
        gives it none."""
        self._argv = argv
        self._patience_s = patience_s
        self._process: Process | None = None

    async def ask(self, question: bytes) -> bytes:
        """Return the answer. Raise NoAnswer if the program ended, or took too long."""
        process = self._process or await self._start()
        try:
            async with asyncio.timeout(self._patience_s):
                return await _exchange(process, question)
        except TimeoutError:
            await self.close()
            raise NoAnswer(None) from None
        except (asyncio.IncompleteReadError, OSError):
            # It has ended. To kill it now could take its status away from whoever waits for that.
            self._process = None
            raise NoAnswer(await process.wait()) from None
        except asyncio.CancelledError:
            await self.close()  # its answer would be taken for that of the next question
            raise

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end_piped(process)

    async def _start(self) -> Process:
        self._process = await start_piped(self._argv, stderr=DEVNULL, own_session=False)
        return self._process


async def _exchange(process: Process, question: bytes) -> bytes:
    stdin, stdout = opened(process.stdin), opened(process.stdout)
    stdin.write(len(question).to_bytes(4, "big") + question)
    await stdin.drain()
    head = await stdout.readexactly(4)
    return await stdout.readexactly(int.from_bytes(head, "big"))
