"""The tables. Everything a tenant owns carries `project_id`; times are Unix seconds with a fraction."""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Float, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Record(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        float: Float(53),
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }


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


class JobRow(Record):
    """A piece of durable work. Only whoever holds `lock_token` may write it, until `leased_until`; see
    jobs/queue. `args` is the kind's versioned struct, `state` what a later attempt goes on from."""

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
    """What a job has told about itself, in order."""

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


class File(Record):
    """An uploaded or made file; its bytes are the object `<project_id>/files/<id>/<blob>`. Listed once
    `state` is ready, which is when all of them are there and checked."""

    __tablename__ = "files"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64))
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    file_type: Mapped[str] = mapped_column(String(16))
    size_bytes: Mapped[int] = mapped_column(default=0)
    checksum: Mapped[str] = mapped_column(String(64), default="")
    """SHA-256 in hex: announced by the client, then that of the bytes."""
    blob: Mapped[str] = mapped_column(String(64), default="")
    """Last segment of the object's key: another one for each attempt, so that none disturbs another."""
    state: Mapped[str] = mapped_column(String(16))
    """uploading | ready | deleting"""
    processing_status: Mapped[str] = mapped_column(String(24))
    """PENDING | QUEUED | RUNNING | COMPLETED | FAILED | INVALID_FORMAT: the check of what is in it."""
    report: Mapped[dict[str, Any]]
    """What the check found: lines, errors, tokens by base model."""
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    __table_args__ = (
        Index("files_by_project", "project_id", "created_at"),
        Index("files_by_state", "state", "created_at"),
        Index("files_by_checksum", "project_id", "checksum"),
    )


class Upload(Record):
    """An upload in parts. Its parts are the objects `<project_id>/uploads/<id>/<number>-<etag>`. The row
    stays for a while after the file is ready, so that completing may be repeated."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64))
    file_id: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    num_parts: Mapped[int]
    created_at: Mapped[float]


class UploadPart(Record):
    """One attempt at a part. Which of them counts, the client says in the end, by the ETag it got."""

    __tablename__ = "upload_parts"
    upload_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    etag: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int]


class Batch(Record):
    """The job that works it off has the same id."""

    __tablename__ = "batches"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(64))
    endpoint: Mapped[str] = mapped_column(String(64))
    input_file_id: Mapped[str] = mapped_column(String(64))
    file_size_bytes: Mapped[int]
    model: Mapped[str] = mapped_column(Text, default="")
    """The one asked for with the batch, else that of the first line."""
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
    """What only OpenAI's shape has: metadata, errors of lines. And `tried_lines`, once it is finalizing."""
    created_at: Mapped[float]
    deadline_at: Mapped[float]
    in_progress_at: Mapped[float | None]
    finalizing_at: Mapped[float | None]
    cancelling_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    __table_args__ = (Index("batches_by_project", "project_id", "created_at"),)


class Evaluation(Record):
    """The job that works it off has the same id. Tokens in `parameters` are sealed."""

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
