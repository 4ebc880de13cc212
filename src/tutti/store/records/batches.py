"""Batches."""

from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tutti.store.records.base import Record


class Batch(Record):
    """A batch. The job that works it off has the same id."""

    __tablename__ = "batches"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(64))
    endpoint: Mapped[str] = mapped_column(String(64))
    input_file_id: Mapped[str] = mapped_column(String(64))
    file_size_bytes: Mapped[int]
    model: Mapped[str] = mapped_column(Text, default="")
    """The model asked for with the batch, else that of the first line."""
    status: Mapped[str] = mapped_column(String(16))
    """VALIDATING | IN_PROGRESS | COMPLETED | FAILED | EXPIRED | CANCELLED"""
    completion_window: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(default=0)
    total_lines: Mapped[int] = mapped_column(default=0)
    completed_lines: Mapped[int] = mapped_column(default=0)
    failed_lines: Mapped[int] = mapped_column(default=0)
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    completion_tokens: Mapped[int] = mapped_column(default=0)
    output_file_id: Mapped[str] = mapped_column(String(64), default="")
    error_file_id: Mapped[str] = mapped_column(String(64), default="")
    error: Mapped[str] = mapped_column(Text, default="")
    details: Mapped[dict[str, Any]]
    """The fields that only OpenAI's shape has: metadata, errors of lines. And `tried_lines`, once it is
    finalizing."""
    created_at: Mapped[float]
    deadline_at: Mapped[float]
    in_progress_at: Mapped[float | None]
    finalizing_at: Mapped[float | None]
    cancelling_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    __table_args__ = (Index("batches_by_project", "project_id", "created_at"),)
