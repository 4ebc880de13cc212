"""Durable work."""

from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tutti.store.records.base import Record


class JobRow(Record):
    """A job. Only the worker that holds `lock_token` may write it, until `leased_until`; see jobs/claim.
    `args` is the kind's versioned struct, `state` what a later attempt goes on from."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    project_id: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    """queued | running | completed | failed | cancelled"""
    priority: Mapped[int] = mapped_column(default=0)
    """The higher, the sooner."""
    args: Mapped[dict[str, Any]]
    state: Mapped[dict[str, Any]]
    attempt: Mapped[int] = mapped_column(default=0)
    lock_token: Mapped[str] = mapped_column(String(64), default="")
    leased_until: Mapped[float] = mapped_column(default=0.0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float]
    run_at: Mapped[float]
    started_at: Mapped[float | None]
    """When it was last claimed."""
    finished_at: Mapped[float | None]
    __table_args__ = (
        Index("jobs_to_run", "status", "run_at"),
        Index("jobs_by_turn", "project_id", "started_at"),
        Index("jobs_by_project", "project_id", "kind", "created_at"),
    )


class JobEvent(Record):
    """An event that a job has recorded about itself; `seq` orders them."""

    __tablename__ = "job_events"
    seq: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    job_id: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[float]
    data: Mapped[dict[str, Any]]


class JobChunk(Record):
    """Some items that a job has finished; their results are objects in the store. See jobs/ledger."""

    __tablename__ = "job_chunks"
    job_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Any]]
    """Ranges of item numbers, [first, last] each."""
    parts: Mapped[dict[str, Any]]
    """Name of a part, such as `output` -> key and size_bytes of its object."""
    counts: Mapped[dict[str, Any]]
