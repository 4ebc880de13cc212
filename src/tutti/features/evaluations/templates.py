"""Jinja templates of clients: checked when an evaluation is asked for, rendered in a process of their own."""

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from tutti.base.errors import InvalidRequest
from tutti.process.child import inherited_env

MAX_TEMPLATE_LENGTH = 64 * 1024
PATIENCE_S = 30.0
"""The renderer has a limit of CPU time; this is for a machine that gives it none."""
_ARGV = (sys.executable, "-m", "tutti.workers.render")


class TemplateFailed(Exception):
    """`template` is the name that it was given; the reason is for the client."""

    def __init__(self, template: str, reason: str) -> None:
        super().__init__(reason)
        self.template = template
        self.reason = reason


def check_template(source: str, param: str) -> None:
    """Raises InvalidRequest. It is compiled to source that is thrown away: nothing is evaluated."""
    if len(source) > MAX_TEMPLATE_LENGTH:
        raise _invalid(param, f"it is longer than {MAX_TEMPLATE_LENGTH} characters")
    jinja2 = importlib.import_module("jinja2")  # by the first template: few servers are sent one
    try:
        jinja2.Environment(optimized=False).compile(source, raw=True)
    except jinja2.TemplateSyntaxError as error:
        reason = f"line {error.lineno}: {error.message}"
    except (RecursionError, ValueError, OverflowError):
        reason = "it is nested too deeply, or has a number that is too long"
    else:
        return
    raise _invalid(param, reason)


def _invalid(param: str, reason: str) -> InvalidRequest:
    message = f"`{param}` is not a valid Jinja template: {reason.rstrip('.')}."
    return InvalidRequest(message, param=param, code="invalid_template")


class Renderer:
    """One process, started when it is needed; the rows queue for it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def render(self, templates: Mapping[str, str], row: Mapping[str, Any]) -> Mapping[str, str]:
        """The texts, by name. Raises TemplateFailed."""
        if not any("{" in source for source in templates.values()):
            return templates
        async with self._turn:
            answer = await self._ask(msgspec.json.encode({"templates": templates, "row": row}))
        if answer is None:
            raise TemplateFailed(", ".join(templates), "it takes too long to render")
        if "failed" in answer:
            raise TemplateFailed(answer["failed"], answer["reason"])
        return answer["texts"]

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, request: bytes) -> dict[str, Any] | None:
        """None: the process did not survive it, or is taking too long and is ended."""
        process = self._process or await self._start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return msgspec.json.decode(await _exchange(process, request))
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            await self.close()
            return None
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


@contextlib.asynccontextmanager
async def renderer() -> AsyncGenerator[Renderer]:
    opened = Renderer()
    try:
        yield opened
    finally:
        await opened.close()


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise OSError("it has no pipes")
    process.stdin.write(len(request).to_bytes(4, "big") + request)
    await process.stdin.drain()
    head = await process.stdout.readexactly(4)
    return await process.stdout.readexactly(int.from_bytes(head, "big"))
