"""Programs of `workers/` that are spoken to over pipes.

They need no shepherd: when the pipes close, because we left or died, reading or writing ends them.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import IO, TypeVar

from tutti.process.child import inherited_env

T = TypeVar("T")

_MAX_LINE_BYTES = 32 * 1024 * 1024


@asynccontextmanager
async def worker(name: str, *arguments: str, stdin: IO[bytes] | int = PIPE) -> AsyncGenerator[Process]:
    """Running; whatever happens, it has ended afterwards."""
    argv = (sys.executable, "-m", f"tutti.workers.{name}", *arguments)
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=stdin, stdout=PIPE, env=inherited_env(), limit=_MAX_LINE_BYTES, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def tell(process: Process, data: AsyncIterator[bytes]) -> None:
    """All of it, then the end; or as much as it wants to read."""
    stdin = _open(process.stdin)
    with suppress(BrokenPipeError, ConnectionResetError):
        async for piece in data:
            stdin.write(piece)
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def said(process: Process) -> AsyncIterator[bytes]:
    """Its lines, with their ends."""
    stdout = _open(process.stdout)
    while line := await stdout.readline():
        yield line


def _open(pipe: T | None) -> T:
    if pipe is None:
        raise ValueError("the program was started without this pipe")
    return pipe
