"""Files and uploads."""

from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tutti.store.records.base import Record


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
    """The last segment of the object's key: another one for each attempt, so that none disturbs another."""
    state: Mapped[str] = mapped_column(String(16))
    """uploading | ready | deleting"""
    processing_status: Mapped[str] = mapped_column(String(24))
    """PENDING | QUEUED | RUNNING | COMPLETED | FAILED | INVALID_FORMAT: the check of what is in it."""
    report: Mapped[dict[str, Any]]
    """The result of the check: lines, errors, tokens by base model."""
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
    """One attempt at a part. The client says in the end which of them counts, by the ETag it got."""

    __tablename__ = "upload_parts"
    upload_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    etag: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int]
