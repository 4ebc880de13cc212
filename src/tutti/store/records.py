"""The tables. Everything a tenant owns carries `project_id`; times are Unix seconds with a fraction."""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Float, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Record(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger, float: Float(53), dict[str, Any]: JSON}


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
    """`digest` is the hex HMAC-SHA-256 of the key; `prefix` (its first characters) is all that is ever shown
    again. A limit of 0 means the server's default."""

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


class RateWindow(Record):
    """What a key has used in one minute, summed over all API workers of all nodes."""

    __tablename__ = "rate_windows"
    key_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    minute: Mapped[int] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(default=0)
    tokens: Mapped[int] = mapped_column(default=0)


class CustomModel(Record):
    """A catalogue entry made at run time (pulled by repo id, uploaded, fine-tuned)."""

    __tablename__ = "custom_models"
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), primary_key=True, default="")
    entry: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class Node(Record):
    """A machine with a supervisor; dead when `seen_at` is older than 5 s."""

    __tablename__ = "nodes"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    address: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    """ready | draining"""
    memory_budget_bytes: Mapped[int]
    seen_at: Mapped[float]


class Want(Record):
    """A model that requests wait for. Written by API workers, cleared by the supervisor that serves it."""

    __tablename__ = "wants"
    model: Mapped[str] = mapped_column(String(255), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), primary_key=True, default="")
    wanted_at: Mapped[float]


class Replica(Record):
    """A model on a node. Its supervisor owns the row; API workers read it, and touch `used_at`."""

    __tablename__ = "replicas"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    node_id: Mapped[str] = mapped_column(String(64), index=True)
    model: Mapped[str] = mapped_column(String(255), index=True)
    project_id: Mapped[str] = mapped_column(String(64), default="")
    entry: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    """pulling | starting | ready | draining | failed"""
    detail: Mapped[str] = mapped_column(Text, default="")
    """What it is doing, for people: progress of the pull, or why it failed."""
    address: Mapped[str] = mapped_column(Text, default="")
    slots: Mapped[int] = mapped_column(default=1)
    memory_bytes: Mapped[int] = mapped_column(default=0)
    restarts: Mapped[int] = mapped_column(default=0)
    changed_at: Mapped[float]
    used_at: Mapped[float]
