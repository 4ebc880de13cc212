"""The check of templates when an evaluation is asked for: in a renderer, as they will be rendered."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tutti.base.errors import InvalidRequest, RateLimited
from tutti.features.evaluations.templates import TemplateFailed, renderer

MAX_TEMPLATE_LENGTH = 64 * 1024
MOST_WAITING = 16
"""Requests of one project whose templates wait for their check."""


@dataclass
class _Queue:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class TemplateChecks:
    """A project's checks take turns, so that they cost it one process, and another project no time."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    async def check(self, project_id: str, templates: Mapping[str, str]) -> None:
        """`templates` are sources by the field that has them. Raises InvalidRequest, naming it."""
        for param, source in templates.items():
            if len(source) > MAX_TEMPLATE_LENGTH:
                raise _invalid(param, f"it is longer than {MAX_TEMPLATE_LENGTH} characters")
        async with self._turn(project_id), renderer() as opened:
            for param, source in templates.items():
                try:
                    await opened.compile(param, source)
                except TemplateFailed as failed:
                    raise _invalid(param, failed.reason) from None

    @asynccontextmanager
    async def _turn(self, project_id: str) -> AsyncGenerator[None]:
        queue = self._queues.setdefault(project_id, _Queue())
        if queue.waiting >= MOST_WAITING:
            said = f"The templates of {MOST_WAITING} evaluations of this project are being checked."
            raise RateLimited(f"{said} Try again.", retry_after_s=2)
        queue.waiting += 1
        try:
            async with queue.turn:
                yield
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                del self._queues[project_id]


def _invalid(param: str, reason: str) -> InvalidRequest:
    message = f"`{param}` is not a valid Jinja template: {reason.rstrip('.')}."
    return InvalidRequest(message, param=param, code="invalid_template")
