"""A batch's row in the shapes of Together and of OpenAI."""

from datetime import UTC, datetime

from tutti.features.batches.schemas import (
    BatchJob,
    BatchJobStatus,
    BatchUsage,
    InputDetails,
    LineError,
    LineErrors,
    OpenAIBatch,
    OpenAIStatus,
    OutputDetails,
    RequestCounts,
)
from tutti.store.records import Batch

_OPENAI_STATUS: dict[str, OpenAIStatus] = {
    "VALIDATING": "validating",
    "IN_PROGRESS": "in_progress",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "EXPIRED": "expired",
    "CANCELLED": "cancelled",
}


def together(row: Batch) -> BatchJob:
    """Return Together's shape. `completed_at` is when the batch ended, successfully or not."""
    return BatchJob(
        id=row.id,
        user_id=row.key_id,
        input_file_id=row.input_file_id,
        file_size_bytes=row.file_size_bytes,
        status=BatchJobStatus(row.status),
        job_deadline=_moment(row.deadline_at),
        created_at=_moment(row.created_at),
        endpoint=row.endpoint,
        progress=_progress(row),
        model_id=row.model or None,
        output_file_id=row.output_file_id or None,
        error_file_id=row.error_file_id or None,
        error=row.error or None,
        completed_at=None if row.finished_at is None else _moment(row.finished_at),
    )


def openai(row: Batch) -> OpenAIBatch:
    return OpenAIBatch(
        id=row.id,
        object="batch",
        endpoint=row.endpoint,
        model=row.model or None,
        errors=_errors(row),
        input_file_id=row.input_file_id,
        completion_window=row.completion_window,
        status=_openai_status(row),
        output_file_id=row.output_file_id or None,
        error_file_id=row.error_file_id or None,
        created_at=int(row.created_at),
        in_progress_at=_seconds(row.in_progress_at),
        expires_at=int(row.deadline_at),
        finalizing_at=_seconds(row.finalizing_at),
        completed_at=_ended(row, "COMPLETED"),
        failed_at=_ended(row, "FAILED"),
        expired_at=_ended(row, "EXPIRED"),
        cancelling_at=_seconds(row.cancelling_at),
        cancelled_at=_ended(row, "CANCELLED"),
        request_counts=RequestCounts(
            total=row.total_lines, completed=row.completed_lines, failed=row.failed_lines
        ),
        usage=_usage(row),
        metadata=row.details.get("metadata"),
    )


def _openai_status(row: Batch) -> OpenAIStatus:
    if row.finished_at is None and row.cancelling_at is not None:
        return "cancelling"
    if row.finished_at is None and row.finalizing_at is not None:
        return "finalizing"
    return _OPENAI_STATUS[row.status]


def _progress(row: Batch) -> float:
    if row.status == "COMPLETED":
        return 100.0
    tried = row.details.get("tried_lines", row.completed_lines + row.failed_lines)
    return round(100.0 * tried / row.total_lines, 2) if row.total_lines else 0.0


def _errors(row: Batch) -> LineErrors | None:
    """Return the errors of lines, if the check found any; else the error of the whole batch, if there is
    one."""
    found = [LineError(**error) for error in row.details.get("errors", [])]
    if not found and row.error:
        found = [LineError(code="batch_failed", message=row.error)]
    return LineErrors(object="list", data=found) if found else None


def _usage(row: Batch) -> BatchUsage:
    return BatchUsage(
        input_tokens=row.prompt_tokens,
        input_tokens_details=InputDetails(cached_tokens=0),
        output_tokens=row.completion_tokens,
        output_tokens_details=OutputDetails(reasoning_tokens=0),
        total_tokens=row.prompt_tokens + row.completion_tokens,
    )


def _ended(row: Batch, status: str) -> int | None:
    return _seconds(row.finished_at) if row.status == status else None


def _seconds(at: float | None) -> int | None:
    return None if at is None else int(at)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)
