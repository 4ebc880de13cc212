"""The rows in which API workers, jobs and nodes meet. The column of a workload's name is still `model`, so
that processes of the last version that run already go on while servers are updated."""

from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tutti.base.program import MODEL
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
    """A workload that somebody waits for: for requests, a model. Written by API workers and jobs, cleared by
    the supervisor that starts it."""

    __tablename__ = "wants"
    kind: Mapped[str] = mapped_column(String(32), primary_key=True, default=MODEL, server_default=MODEL)
    """A name in the table of workloads (parts/workloads)."""
    name: Mapped[str] = mapped_column("model", String(255), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), primary_key=True, default="")
    spec: Mapped[dict[str, Any] | None]
    """What the workload is made from, besides its name. Nothing for models: the catalogue describes them."""
    gpus: Mapped[int] = mapped_column(default=0, server_default="0")
    memory_bytes: Mapped[int] = mapped_column(default=0, server_default="0")
    """Its share of a machine; with no GPUs and no memory the workload itself says what it needs."""
    wanted_at: Mapped[float]


class Replica(Record):
    """A workload on a node. Its supervisor owns the row; API workers read it, and touch `used_at`."""

    __tablename__ = "replicas"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    node_id: Mapped[str] = mapped_column(String(64), index=True)
    kind: Mapped[str] = mapped_column(String(32), default=MODEL, server_default=MODEL)
    name: Mapped[str] = mapped_column("model", String(255), index=True)
    project_id: Mapped[str] = mapped_column(String(64), default="")
    entry: Mapped[dict[str, Any]]
    """The description that it was made from: a model's entry in the catalogue, or the want's `spec`."""
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
