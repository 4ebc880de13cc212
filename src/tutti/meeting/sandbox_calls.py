"""The messages between API workers and sandbox hosts."""

from dataclasses import dataclass
from typing import Any

import msgspec

LEAVING = "interpreter_leaving"
"""Code of the refusal of a host that has no new sessions any more."""


@dataclass(frozen=True)
class InputFile:
    name: str
    """Relative to the home directory; folders in it are made."""
    content: bytes


class Call(msgspec.Struct, frozen=True):
    """One execution, in a new session where none is named."""

    project_id: str
    code: str
    session_id: str | None = None
    files: tuple[InputFile, ...] = ()
    make_room: bool = True
    """An idle session may be ended for a new one."""


class Ending(msgspec.Struct, frozen=True):
    """A session that a project wants to end."""

    project_id: str
    session_id: str


class Ended(msgspec.Struct, frozen=True):
    """The answer to an `Ending`. `reason` says why the session had ended before that."""

    reason: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """The body of an answer that is not a 200: a TuttiError, by its status."""

    message: str
    code: str | None = None
    retry_after_s: float | None = None


def failed(reason: str) -> dict[str, Any]:
    """Return the API's FailedExecution."""
    return {"data": None, "errors": [reason]}
