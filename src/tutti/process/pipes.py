"""Child programs that are spoken to over pipes, which are mostly those of `workers/`.

They need no shepherd: when the pipes close, because we left or died, reading or writing ends them.
"""

from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import IO, TypeVar

from tutti.process.child import inherited_env, worker_argv

T = TypeVar("T")
_MAX_LINE_BYTES = 32 * 1024 * 1024


async def start_piped(
    argv: Sequence[str], stdin: IO[bytes] | int = PIPE, stderr: int | None = None, *, own_session: bool
) -> Process:
    """Start the program with a pipe for its output. `own_session`: Ctrl-C at our terminal is not for it."""
    return await create_subprocess_exec(
        *argv,
        stdin=stdin,
        stdout=PIPE,
        stderr=stderr,
        env=inherited_env(),
        limit=_MAX_LINE_BYTES,
        start_new_session=own_session,
    )


async def end_piped(process: Process) -> None:
    """End the program, if it hasn't ended by itself, and wait until it is gone."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await process.wait()


@asynccontextmanager
async def piped_worker(name: str, *arguments: str, stdin: IO[bytes] | int = PIPE) -> AsyncGenerator[Process]:
    """Run a program of `workers/`. It has ended when the block is left, whatever happened."""
    process = await start_piped(worker_argv(name, *arguments), stdin, own_session=True)
    try:
        yield process
    finally:
        await end_piped(process)


async def write_all(process: Process, data: AsyncIterator[bytes]) -> None:
    """Write the data and close the pipe. Stop early, without an error, if the program reads no further."""
    stdin = opened(process.stdin)
    with suppress(BrokenPipeError, ConnectionResetError):
        async for piece in data:
            stdin.write(piece)
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def lines_of(process: Process) -> AsyncIterator[bytes]:
    """Yield the lines that the program writes, with their line ends."""
    stdout = opened(process.stdout)
    while line := await stdout.readline():
        yield line


def opened(pipe: T | None) -> T:
    """Return the pipe. Raise OSError if the program was started without it."""
    if pipe is None:
        raise OSError("the program was started without this pipe")
    return pipe
