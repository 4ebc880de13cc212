"""docs/generated/jobs.md."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from docs.markdown import page, table, told
from tutti.base.settings import Settings
from tutti.jobs.kind import Kind
from tutti.jobs.states import FINISHED, TRANSITIONS, Event, Transition
from tutti.parts.jobs import JOB_KINDS
from tutti.parts.schedule import SCHEDULE
from tutti.platform import Platform


def jobs_page() -> str:
    return page(
        "Jobs",
        "Whatever a request does not wait for is a job: a row that any worker may take, and that ends "
        "exactly once. A worker holds it by a lease that it keeps extending; when the lease runs out, "
        "another worker goes on from what was saved, and what the first one still writes is refused.",
        _diagram(),
        table(("event", "from", "to", "when"), (_transition(*it) for it in TRANSITIONS.items())),
        "## Kinds",
        "A handler may be run again after an attempt that was cut short anywhere: each says why that is "
        "safe. Limits are over all workers; 0 is none.",
        table(
            ("kind", "at once", "a project", "attempts", "every", "running it again"), map(_kind, job_kinds())
        ),
    )


def _diagram() -> str:
    arrows = [
        *((it.before or "[*]", it.after, event.value) for event, it in TRANSITIONS.items()),
        *((status, "[*]", "") for status in FINISHED),
    ]
    lines = [f"    {before} --> {after}{f': {event}' if event else ''}" for before, after, event in arrows]
    return "\n".join(("```mermaid", "stateDiagram-v2", *lines, "```"))


def _transition(event: Event, it: Transition) -> Sequence[str]:
    return event.value, f"`{it.before}`" if it.before else "", f"`{it.after}`", it.meaning


def closed_platform() -> Platform:
    """Return a platform with nothing open: kinds of jobs and routers only keep it until they are called."""
    nothing: Any = None
    settings = Settings(secret="none")  # noqa: S106 - it seals nothing; without one a file would be made
    return Platform(settings, *[nothing] * (len(fields(Platform)) - 1))


def job_kinds() -> list[Kind[Any]]:
    nothing: Any = None
    platform = closed_platform()
    return sorted((make(platform, nothing) for make in JOB_KINDS), key=lambda kind: kind.name)


def _kind(kind: Kind[Any]) -> Sequence[str]:
    run = kind.run.func if isinstance(kind.run, partial) else kind.run
    every_s = SCHEDULE.get(kind.name)
    numbers = (kind.limit, kind.project_limit, kind.max_attempts)
    every = f"{every_s / 60:g} min" if every_s else ""
    return f"`{kind.name}`", *map(str, numbers), every, told(run.__doc__)
