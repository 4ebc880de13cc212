"""Jinja templates of clients: compiled and rendered in a process of their own, never in one that serves."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from tutti.features.evaluations.rows import named
from tutti.process.child import inherited_env

CPU_S = 2.0
"""What the templates of one row may take, and a template while it is checked."""
PATIENCE_S = 30.0
"""The renderer has a limit of CPU time; this is for a machine that gives it none."""
_ARGV = (sys.executable, "-m", "tutti.workers.render", str(CPU_S))


class TemplateFailed(Exception):
    """`template` is the name that it was given; the reason is for the client."""

    def __init__(self, template: str, reason: str) -> None:
        super().__init__(reason)
        self.template = template
        self.reason = reason


class Renderer:
    """One process, started when it is needed; the rows queue for it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def render(self, templates: Mapping[str, str], row: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the texts, by name. Raises TemplateFailed."""
        if not _has_code(templates):
            return templates
        return (await self._answered(templates, row))["texts"]

    async def compile(self, name: str, source: str) -> None:
        """Raises TemplateFailed for a template that cannot be read, or not within the limits."""
        if _has_code({name: source}):
            await self._answered({name: source}, None)

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _answered(
        self, templates: Mapping[str, str], row: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        async with self._turn:
            answer = await self._ask(msgspec.json.encode({"templates": templates, "row": row}))
        if isinstance(answer, str):
            raise TemplateFailed(", ".join(templates), answer)
        if "failed" in answer:
            there = f"; the row has {named(row)}" if row and answer["missing"] else ""
            raise TemplateFailed(answer["failed"], answer["reason"] + there)
        return answer

    async def _ask(self, request: bytes) -> dict[str, Any] | str:
        """Return the answer, or why the process did not survive the question."""
        process = self._process or await self._start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return msgspec.json.decode(await _exchange(process, request))
        except TimeoutError:
            await self.close()
            return _TOO_LONG
        except (asyncio.IncompleteReadError, OSError):
            # It has ended. To kill it now could take its status away from whoever waits for that.
            self._process = None
            ended = await process.wait()
            return _TOO_LONG if ended == -signal.SIGPROF else "it needs too much memory"
        except asyncio.CancelledError:
            await self.close()  # its answer would be taken for that of the next request
            raise

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *_ARGV,
            env=inherited_env(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return self._process


_TOO_LONG = f"it takes too long, more than {CPU_S:g} seconds of a processor"


@contextlib.asynccontextmanager
async def renderer() -> AsyncGenerator[Renderer]:
    opened = Renderer()
    try:
        yield opened
    finally:
        await opened.close()


def _has_code(templates: Mapping[str, str]) -> bool:
    return any("{" in source for source in templates.values())


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise OSError("it has no pipes")
    process.stdin.write(len(request).to_bytes(4, "big") + request)
    await process.stdin.drain()
    head = await process.stdout.readexactly(4)
    return await process.stdout.readexactly(int.from_bytes(head, "big"))
