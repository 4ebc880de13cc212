"""Organisations, projects, API keys, and what these have used."""

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tutti.store.records.base import Record


class Organization(Record):
    __tablename__ = "organizations"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float]


class Project(Record):
    __tablename__ = "projects"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    organization_id: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(Text)
    slug: Mapped[str] = mapped_column(String(128), unique=True)
    created_at: Mapped[float]


class ApiKey(Record):
    """An API key. `digest` is the hex HMAC-SHA-256 of the key; `prefix` (its first characters) is the only
    part that can be shown again. A limit of 0 means the server's default."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(Text)
    prefix: Mapped[str] = mapped_column(String(32))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    requests_per_minute: Mapped[int] = mapped_column(default=0)
    tokens_per_minute: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float]
    revoked_at: Mapped[float | None]


class RateWindow(Record):
    """The usage of a key in one minute, summed over all API workers of all nodes."""

    __tablename__ = "rate_windows"
    key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    minute: Mapped[int] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(default=0)
    tokens: Mapped[int] = mapped_column(default=0)
