"""The models that were added while the server ran."""

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from tutti.store.records.base import Record


class CustomModel(Record):
    """A catalogue entry made at run time (pulled by repo id, uploaded, fine-tuned)."""

    __tablename__ = "custom_models"
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), primary_key=True, default="")
    entry: Mapped[dict[str, Any]]
    created_at: Mapped[float]
