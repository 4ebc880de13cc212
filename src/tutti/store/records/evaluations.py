"""Evaluations."""

from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from tutti.store.records.base import Record


class Evaluation(Record):
    """An evaluation. The job that works it off has the same id. Tokens in `parameters` are sealed."""

    __tablename__ = "evaluations"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(16))
    """classify | score | compare"""
    status: Mapped[str] = mapped_column(String(16))
    """pending | queued | running | completed | error | user_error"""
    status_updates: Mapped[list[Any]]
    parameters: Mapped[dict[str, Any]]
    results: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    updated_at: Mapped[float]
    __table_args__ = (Index("evaluations_by_project", "project_id", "created_at"),)
