"""The usage of served requests."""

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tutti.store.records.base import Record


class UsageRow(Record):
    """One served request."""

    __tablename__ = "usage"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    completion_tokens: Mapped[int] = mapped_column(default=0)
    latency_ms: Mapped[float]
    first_token_ms: Mapped[float | None]
    created_at: Mapped[float]
    __table_args__ = (Index("usage_by_project", "project_id", "created_at"),)
