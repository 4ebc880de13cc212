"""The kinds of jobs: parts/jobs has a line for each."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from tutti.jobs.args import A, Args
from tutti.jobs.job import Job

__all__ = ["Args", "Ending", "Kind"]


@dataclass(frozen=True)
class Ending:
    """The end of a job. `error` is what a client may read; empty unless failed."""

    status: Literal["completed", "failed", "cancelled"]
    error: str = ""


async def _nothing_to_settle(_job: Job[Any], _ending: Ending) -> None:
    return


async def _nothing_more(_session: AsyncSession, _job: Job[Any], _ending: Ending) -> None:
    return


@dataclass(frozen=True)
class Kind(Generic[A]):
    """A kind of job. `run` may be called any number of times for one job, each time after an attempt that was
    cut short anywhere: its docstring says why that is safe.

    It raises errors.Failed for mistakes that will not get better, with a message for the client. A TuttiError
    counts as that too, unless it `should_retry`; those, SQLAlchemyError and OSError are transient: the job is
    tried again after a pause, `max_attempts` times in all. Any other exception is a mistake of ours: it is
    logged, and the client reads only that. asyncio.CancelledError comes when the client cancels
    (`job.cancel_requested`) or the worker is stopping (the job is handed back, the attempt not counted); it
    is to be let through.

    `settle`, then `ended` follow however the job ends, also where `run` was never called (cancelled while
    queued, given up because its workers died). `settle` may take its time and use the network, such as for
    making a file of the results, and like `run` may be called again; `ended` is inside the transaction that
    ends the job, and brings the resource's row to its final state. A job with arguments that cannot be read
    is ended too: its `args` raise Failed.

    `limit` and `project_limit` are how many may run at once over all workers, and for one project; 0: any
    number. A kind that works for projects has both, the second below the first: no project takes all places.
    """

    name: str
    args: type[A]
    run: Callable[[Job[A]], Awaitable[None]]
    ended: Callable[[AsyncSession, Job[A], Ending], Awaitable[None]] = _nothing_more
    settle: Callable[[Job[A], Ending], Awaitable[None]] = _nothing_to_settle
    limit: int = 0
    project_limit: int = 0
    max_attempts: int = 5
