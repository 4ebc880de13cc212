"""GET /jobs and GET /jobs/{jobId}: the uploads of models."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Path, Request
from sqlalchemy import select

from tutti.base.clock import now
from tutti.catalog.catalog import FRESH_S
from tutti.features.models.schemas import (
    JobArguments,
    JobInfoSuccessResponse,
    JobsInfoSuccessResponse,
    JobStatusUpdate,
)
from tutti.features.models.upload_args import NAME
from tutti.features.ownership import missing
from tutti.http.context import caller
from tutti.platform import Platform
from tutti.store.records import JobEvent, JobRow

_MOST = 1000
Status = Literal["Queued", "Running", "Complete", "Failed"]


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(tags=["Jobs"])

    @routes.get("/jobs", operation_id="listJobs", summary="List all jobs")
    async def jobs(request: Request) -> JobsInfoSuccessResponse:
        """List the uploads of models and their statuses, newest first."""
        return JobsInfoSuccessResponse(data=await _read(platform, caller(request).project_id))

    @routes.get("/jobs/{jobId}", operation_id="getJob", summary="Get job status")
    async def job(
        request: Request,
        job_id: str = Path(alias="jobId", description="The ID of the job to retrieve"),
    ) -> JobInfoSuccessResponse:
        """Return the status of one upload."""
        found = await _read(platform, caller(request).project_id, job_id)
        if not found:
            raise missing("job", job_id, param=None)
        return found[0]

    return routes


async def _read(
    platform: Platform, project_id: str, job_id: str | None = None
) -> list[JobInfoSuccessResponse]:
    query = select(JobRow).where(JobRow.project_id == project_id, JobRow.kind == NAME)
    if job_id is not None:
        query = query.where(JobRow.id == job_id)
    async with platform.database.read() as session:
        rows = (await session.scalars(query.order_by(JobRow.created_at.desc()).limit(_MOST))).all()
        of_rows = JobEvent.job_id.in_([row.id for row in rows])
        events = _by_job(
            (await session.scalars(select(JobEvent).where(of_rows).order_by(JobEvent.seq))).all()
        )
    return [_info(row, events.get(row.id, ())) for row in rows]


def _by_job(events: Iterable[JobEvent]) -> Mapping[str, Sequence[JobEvent]]:
    found: dict[str, list[JobEvent]] = defaultdict(list)
    for event in events:
        found[event.job_id].append(event)
    return found


def _info(row: JobRow, events: Sequence[JobEvent]) -> JobInfoSuccessResponse:
    status = _status(row)
    updates = [_update("Queued", "Job is Queued", row.created_at)]
    updates += [_update("Running", str(event.data.get("message", "")), event.at) for event in events]
    if status in ("Complete", "Failed"):
        message = row.error or ("Job is Complete" if status == "Complete" else "Job was cancelled")
        updates.append(_update(status, message, row.finished_at or row.created_at))
    return JobInfoSuccessResponse(
        type=NAME,
        job_id=row.id,
        status=status,
        status_updates=updates,
        args=JobArguments(
            description=row.args.get("description"),
            modelName=row.args.get("model_name"),
            modelSource=row.args.get("source"),
        ),
        created_at=_time(row.created_at),
        updated_at=updates[-1].timestamp,
    )


def _status(row: JobRow) -> Status:
    """Return the status that clients see. `Complete` means that every process knows the model by now."""
    if row.status == "completed" and now() - (row.finished_at or 0.0) >= FRESH_S:
        return "Complete"
    if row.status in ("running", "completed"):
        return "Running"
    return "Queued" if row.status == "queued" else "Failed"


def _update(status: Status, message: str, at: float) -> JobStatusUpdate:
    return JobStatusUpdate(status=status, message=message, timestamp=_time(at))


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
