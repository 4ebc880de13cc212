"""The outcome of an attempt: what becomes of the job, and what an error means for it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import now
from tutti.base.errors import TuttiError
from tutti.jobs.errors import Failed
from tutti.jobs.kind import Ending
from tutti.jobs.states import Event, after
from tutti.store.outage import is_database_outage

OURS = "The server made a mistake; its log says more."
LONGEST_PAUSE_S = 300.0
_ENDINGS = {"completed": Event.COMPLETED, "failed": Event.FAILED, "cancelled": Event.CANCELLED}


@dataclass(frozen=True)
class Again:
    """Put back into the queue, after a transient error."""

    run_at: float
    error: str


@dataclass(frozen=True)
class HandedBack:
    """Put back into the queue, as if the attempt had never been."""


Outcome = Ending | Again | HandedBack


def is_transient(error: BaseException) -> bool:
    if isinstance(error, TuttiError):
        return error.should_retry
    return isinstance(error, SQLAlchemyError | OSError)


def is_outage(error: BaseException) -> bool:
    """Return True if the database or the object store could not be reached, not if it refused the
    statement."""
    return is_database_outage(error) if isinstance(error, SQLAlchemyError) else is_transient(error)


def client_text(error: BaseException) -> str:
    """Return the text of the error that a client may read."""
    if isinstance(error, TuttiError | Failed):
        return error.message
    return "The database or the object store did not answer." if is_transient(error) else OURS


def after_error(error: BaseException, attempt: int, max_attempts: int, backoff_s: float) -> Outcome:
    if not is_transient(error):
        return Ending("failed", client_text(error))
    if attempt >= max_attempts:
        return Ending("failed", f"Gave up after {attempt} attempts: {client_text(error)}")
    return Again(now() + pause_s(error, attempt, backoff_s), client_text(error))


def pause_s(error: BaseException, attempt: int, backoff_s: float) -> float:
    """Return the pause before the next attempt: twice as long after each. Jitter keeps jobs that failed
    together from coming back together."""
    advised_s = (error.retry_after_s or 0.0) if isinstance(error, TuttiError) else 0.0
    longest_s = min(LONGEST_PAUSE_S, backoff_s * 2.0 ** min(attempt - 1, 20))
    return max(advised_s, longest_s * random.uniform(0.5, 1.0))


def columns(outcome: Outcome, attempt: int, every_s: float | None) -> Mapping[str, Any]:
    """Return the column values of the job's row. `every_s` is the interval of scheduled maintenance, which
    has a next time instead of an end."""
    unlocked = {"lock_token": "", "leased_until": 0.0}
    if isinstance(outcome, HandedBack):
        return {**unlocked, "status": after(Event.HANDED_BACK), "attempt": attempt - 1}
    if isinstance(outcome, Again):
        return {
            **unlocked,
            "status": after(Event.RETRIED),
            "run_at": outcome.run_at,
            "error": _text(outcome.error),
        }
    ended = {**unlocked, "error": _text(outcome.error), "finished_at": now()}
    if every_s is None:
        return {**ended, "status": after(_ENDINGS[outcome.status])}
    fresh: dict[str, Any] = {"attempt": 0, "state": {}, "cancel_requested": False, "run_at": now() + every_s}
    return {**ended, **fresh, "status": after(Event.SCHEDULED_AGAIN)}


def _text(error: str) -> str:
    return error.replace("\0", "")
