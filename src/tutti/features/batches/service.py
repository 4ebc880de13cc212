"""Batches as rows: made together with the job that runs them, listed, cancelled."""

import uuid
from collections.abc import Sequence

from sqlalchemy import and_, select, update

from tutti.access.caller import Caller
from tutti.base.clock import now
from tutti.base.errors import InvalidRequest, NotFound
from tutti.features.batches.endpoints import check_endpoint
from tutti.features.batches.schemas import CreateBatchRequest
from tutti.features.batches.window import DEFAULT, window_s
from tutti.features.files import service as files
from tutti.features.ownership import find_owned, missing
from tutti.features.paging import by_age
from tutti.http.context import Family
from tutti.jobs.args import CallerArgs
from tutti.jobs.queue import cancel, check_queue, enqueue
from tutti.platform import Platform
from tutti.store.records import Batch, File

KIND = "batch"
_PURPOSE = "batch-api"
_UNFINISHED = ("VALIDATING", "IN_PROGRESS")


class BatchArgs(CallerArgs, frozen=True, kw_only=True):
    """The caller who is served, and the client family whose shape answers have. The rest is in the row."""

    family: Family


async def create(
    platform: Platform, caller: Caller, family: Family, request: CreateBatchRequest
) -> tuple[Batch, str | None]:
    """Make a batch and its job. Return it with a warning for the client, or None."""
    check_endpoint(request.endpoint)
    window = request.completion_window or DEFAULT
    lasts_s = window_s(window)
    if request.model_id:
        await platform.dispatch.resolve(request.model_id, caller.project_id)
    file = await _input_file(platform, caller.project_id, request.input_file_id)
    batch = Batch(
        id=str(uuid.uuid4()),
        project_id=caller.project_id,
        key_id=caller.key_id,
        endpoint=request.endpoint,
        input_file_id=file.id,
        file_size_bytes=file.size_bytes,
        model=request.model_id or "",
        status="VALIDATING",
        completion_window=window,
        priority=request.priority or 0,
        details={"metadata": request.metadata} if request.metadata else {},
        created_at=now(),
        deadline_at=now() + lasts_s,
    )
    args = BatchArgs.of(caller, family=family)
    async with platform.database.begin() as session:
        await check_queue(session, caller.project_id, platform.settings.project_jobs)
        session.add(batch)
        await enqueue(session, KIND, args, project_id=caller.project_id, id=batch.id, priority=batch.priority)
    return batch, _warning(file)


async def retrieve(platform: Platform, project_id: str, batch_id: str) -> Batch:
    return await find_owned(platform.database, Batch, project_id, batch_id, missing("batch", batch_id))


async def newest(platform: Platform, project_id: str, after: str | None, limit: int) -> Sequence[Batch]:
    """Return at most `limit` of the project's batches, the newest first: those made before `after`."""
    last = await _predecessor(platform, project_id, after) if after else None
    query = by_age(select(Batch).where(Batch.project_id == project_id), Batch, after=last).limit(limit)
    async with platform.database.read() as session:
        return (await session.scalars(query)).all()


async def _predecessor(platform: Platform, project_id: str, batch_id: str) -> Batch:
    try:
        return await retrieve(platform, project_id, batch_id)
    except NotFound as error:
        raise InvalidRequest(f"{error.message} Give the id of one to go on after.", param="after") from None


async def request_cancel(platform: Platform, project_id: str, batch_id: str) -> Batch:
    """Ask for the batch to end, which it does within seconds, and keeps what is done. Raise InvalidRequest if
    it has ended in another way."""
    batch = await retrieve(platform, project_id, batch_id)
    if batch.status not in (*_UNFINISHED, "CANCELLED"):
        raise InvalidRequest(f"The batch is {batch.status} already.", code="batch_ended")
    this = and_(Batch.id == batch_id, Batch.status.in_(_UNFINISHED), Batch.cancelling_at.is_(None))
    async with platform.database.begin() as session:
        await cancel(session, batch_id, project_id)
        await session.execute(update(Batch).where(this).values(cancelling_at=now()))
    return await retrieve(platform, project_id, batch_id)


async def _input_file(platform: Platform, project_id: str, file_id: str) -> File:
    try:
        file = await files.find(platform, project_id, file_id)
    except NotFound as error:
        message = f"{error.message} Upload it with purpose `{_PURPOSE}`, and give its id."
        raise NotFound(message, param="input_file_id", code=error.code) from None
    if file.purpose != _PURPOSE:
        raise InvalidRequest(
            f"{file.id} was uploaded for {file.purpose}: a batch needs a file with the purpose {_PURPOSE}.",
            param="input_file_id",
        )
    if file.file_type != "jsonl":
        raise InvalidRequest(
            f"{file.id} is a {file.file_type} file: a batch needs jsonl.", param="input_file_id"
        )
    return file


def _warning(file: File) -> str | None:
    if file.report.get("valid", True):
        return None
    return f"The check of the input file found an error: {file.report.get('error')}"
