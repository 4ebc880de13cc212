"""Jinja templates of clients, compiled and rendered in a process of their own, never in one that serves."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from tutti.features.evaluations.rows import named
from tutti.process.child import worker_argv
from tutti.process.questions import Answerer, NoAnswer

CPU_S = 2.0
"""Seconds of CPU time for the templates of one row, or for the check of one template."""
PATIENCE_S = 30.0
"""Seconds that the renderer may take for one question."""
_ARGV = worker_argv("render", str(CPU_S))


class TemplateFailed(Exception):
    """A template that can't be read or rendered. `template` is its name; `reason` is for the client."""

    def __init__(self, template: str, reason: str) -> None:
        super().__init__(reason)
        self.template = template
        self.reason = reason


class Renderer:
    """A process that renders, started when it is needed. Rows wait for their turn."""

    def __init__(self) -> None:
        self._process = Answerer(_ARGV, PATIENCE_S)
        self._turn = asyncio.Lock()

    async def render(self, templates: Mapping[str, str], row: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the rendered texts by name. Raise TemplateFailed."""
        if not _has_code(templates):
            return templates
        return (await self._answered(templates, row))["texts"]

    async def compile(self, name: str, source: str) -> None:
        """Raise TemplateFailed if the template can't be compiled, or not within the limits."""
        if _has_code({name: source}):
            await self._answered({name: source}, None)

    async def close(self) -> None:
        await self._process.close()

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
        try:
            return msgspec.json.decode(await self._process.ask(request))
        except NoAnswer as lost:
            return _TOO_LONG if lost.status in (None, -signal.SIGPROF) else "it needs too much memory"


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
