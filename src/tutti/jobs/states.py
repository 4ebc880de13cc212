"""The states of a job, and all that can happen to it. docs/generated/jobs.md is drawn from this table."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Event(StrEnum):
    ACCEPTED = "accepted"
    CLAIMED = "claimed"
    TAKEN_OVER = "taken over"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    HANDED_BACK = "handed back"
    SCHEDULED_AGAIN = "scheduled again"


@dataclass(frozen=True)
class Transition:
    """A change of state. `before` is empty where there was no job."""

    before: str
    after: str
    meaning: str


TRANSITIONS: Mapping[Event, Transition] = MappingProxyType(
    {
        Event.ACCEPTED: Transition("", "queued", "In the transaction that writes what it works on."),
        Event.CLAIMED: Transition(
            "queued", "running", "By a worker with a free slot, at `run_at`, within the limits."
        ),
        Event.TAKEN_OVER: Transition(
            "running", "running", "By another worker: the lease ran out, since its worker died or hung."
        ),
        Event.COMPLETED: Transition("running", "completed", "The handler returned."),
        Event.FAILED: Transition(
            "running",
            "failed",
            "The handler said so or made a mistake, the attempts are used up, or this version does not know "
            "the kind or cannot read the arguments.",
        ),
        Event.CANCELLED: Transition(
            "running", "cancelled", "The client asked; a queued job is claimed first, whatever the limits."
        ),
        Event.RETRIED: Transition("running", "queued", "A transient error: again after a pause."),
        Event.HANDED_BACK: Transition("running", "queued", "Its worker is stopping; no attempt is counted."),
        Event.SCHEDULED_AGAIN: Transition(
            "running", "queued", "Scheduled maintenance never ends: in place of an ending, its next time."
        ),
    }
)

UNFINISHED = tuple(sorted({change.before for change in TRANSITIONS.values() if change.before}))
FINISHED = tuple(sorted({change.after for change in TRANSITIONS.values()} - set(UNFINISHED)))


def after(event: Event) -> str:
    return TRANSITIONS[event].after


def before(event: Event) -> str:
    return TRANSITIONS[event].before
