"""Where API workers, jobs and nodes meet."""

from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tutti.store.records.base import Record


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
    adapter: Mapped[int] = mapped_column(default=-1, server_default="-1")
    """Its number among the adapters of the replica whose address it shares; -1: it is no adapter."""
    memory_bytes: Mapped[int] = mapped_column(default=0)
    restarts: Mapped[int] = mapped_column(default=0)
    changed_at: Mapped[float]
    used_at: Mapped[float]


class SandboxHost(Record):
    """The process of a node that keeps the code interpreter's sessions. API workers write a row that is
    `wanted`; from then on it is the controller's, and the process's own. No row: nobody has asked for it."""

    __tablename__ = "sandbox_hosts"
    node_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    """wanted | preparing | ready | failed"""
    detail: Mapped[str] = mapped_column(Text, default="")
    """What it is doing, for people, or why it failed."""
    address: Mapped[str] = mapped_column(Text, default="")
    token: Mapped[str] = mapped_column(String(64), default="")
    """Whoever has it may run code in any project's sessions."""
    changed_at: Mapped[float]
