"""A child program that answers questions over its pipes (`workers/questions`).

One at a time; each message is 4 bytes of length, then its bytes.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from tutti.process.child import inherited_env


class NoAnswer(Exception):
    """The program did not survive the question. `status` is its exit status, negative where a signal ended
    it; None where it took too long and was ended here."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class Answerer:
    """Starts the program when it is needed, and again after one that ended. The caller lets questions wait
    for one another. The program ends when its pipe does, so it needs no shepherd."""

    def __init__(self, argv: Sequence[str], patience_s: float) -> None:
        """Start nothing yet. `patience_s`: the program limits its own CPU time; this is for a machine that
        gives it none."""
        self._argv = argv
        self._patience_s = patience_s
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, question: bytes) -> bytes:
        """Ask one question and return the answer. Raises NoAnswer."""
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
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *self._argv,
            env=inherited_env(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return self._process


async def _exchange(process: asyncio.subprocess.Process, question: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise OSError("it has no pipes")
    process.stdin.write(len(question).to_bytes(4, "big") + question)
    await process.stdin.drain()
    head = await process.stdout.readexactly(4)
    return await process.stdout.readexactly(int.from_bytes(head, "big"))
