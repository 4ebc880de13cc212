"""A file's row in the shape of `schemas.FileResponse`, without fields that are not known."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.requests import HTTPConnection

from tutti.http.context import family
from tutti.store.records import File

# Stored under the name that Together has for it, where it has one.
_STORED = MappingProxyType({"batch": "batch-api", "evals": "eval"})

_TOGETHER_NAMES = {"batch_output": "batch-api"}
_NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "together": _TOGETHER_NAMES,
        # The 1.x client refuses a whole list for one purpose that it does not know.
        "together 1.x": {**_TOGETHER_NAMES, "calibration": "fine-tune", "user_data": "fine-tune"},
        "openai": {
            "batch-api": "batch",
            "eval": "evals",
            "eval-output": "user_data",
            "calibration": "fine-tune",
        },
    }
)

_OPENAI_STATUS = MappingProxyType({"COMPLETED": "processed", "FAILED": "error", "INVALID_FORMAT": "error"})
_UNCHECKED = ("PENDING", "QUEUED", "RUNNING")


def dialect(request: HTTPConnection) -> str:
    """Return the client family whose names of purposes the answer uses."""
    if request.headers.get("user-agent", "").startswith("Together/v1 "):
        return "together 1.x"
    return family(request)


def stored_purpose(purpose: str) -> str:
    return _STORED.get(purpose, purpose)


def shown(file: File, dialect: str) -> dict[str, Any]:
    status = file.processing_status
    checked = "valid" in file.report
    fields = {
        "id": file.id,
        "object": "file",
        "created_at": int(file.created_at),
        "filename": file.filename,
        "bytes": file.size_bytes,
        "purpose": _NAMES[dialect].get(file.purpose, file.purpose),
        "FileType": file.file_type,
        "Processed": status not in _UNCHECKED,
        "LineCount": file.report.get("nlines"),
        "processing_status": status,
        "validation_report": {**file.report, "file_id": file.id} if checked else None,
        "checksum": file.checksum,
        "status": _OPENAI_STATUS.get(status, "uploaded"),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
    }
    return {name: value for name, value in fields.items() if value is not None}
