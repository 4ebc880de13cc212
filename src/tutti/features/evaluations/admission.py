"""The check of an evaluation's templates when it is created, in a renderer like the one that renders them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tutti.base.errors import InvalidRequest, RateLimited
from tutti.features.evaluations.templates import TemplateFailed, renderer

MAX_TEMPLATE_LENGTH = 64 * 1024
MOST_WAITING = 16
"""How many requests of one project may wait for the check of their templates."""


@dataclass
class _Queue:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class TemplateChecks:
    """Queues of checks, one a project. A project's checks take turns, so that they need one process and cost
    other projects no time."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    async def check(self, project_id: str, templates: Mapping[str, str]) -> None:
        """Check templates, given as sources by field. Raise InvalidRequest, naming the field of a wrong
        one."""
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
            reason = f"The templates of {MOST_WAITING} evaluations of this project are being checked."
            raise RateLimited(f"{reason} Try again.", retry_after_s=2)
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
