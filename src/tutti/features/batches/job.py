"""The job of a batch: checks the input file, works it off, and makes the output and error files."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import msgspec
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from tutti.base.clock import now
from tutti.base.errors import NotFound
from tutti.features.batches.lines import read_line
from tutti.features.batches.overdue import is_overdue
from tutti.features.batches.recorder import ERRORS, OUTPUT, Part, Recorder, Result, recorded
from tutti.features.batches.results import UNFINISHED, Error, unanswered
from tutti.features.batches.runner import Runner
from tutti.features.batches.service import KIND, BatchArgs
from tutti.features.batches.validation import Fault, examine
from tutti.features.files import service as files
from tutti.http.inside import Inside
from tutti.jobs.errors import Failed
from tutti.jobs.job import Job
from tutti.jobs.kind import Ending, Kind
from tutti.jobs.ledger import Ledger
from tutti.platform import Platform
from tutti.store.records import Batch

_AT_ONCE = 6
_OF_A_PROJECT = 2
_ATTEMPTS = 100
"""A batch may take a month, and every restart of the server cuts an attempt short."""
_STATUS = {"completed": "COMPLETED", "failed": "FAILED", "cancelled": "CANCELLED"}

BatchRun = Job[BatchArgs]


def batch(platform: Platform, inside: Inside) -> Kind[BatchArgs]:
    return Kind(
        KIND,
        BatchArgs,
        run=partial(_run, platform, inside),
        settle=partial(_settle, platform),
        ended=_ended,
        limit=_AT_ONCE,
        project_limit=_OF_A_PROJECT,
        max_attempts=_ATTEMPTS,
    )


async def _run(platform: Platform, inside: Inside, job: BatchRun) -> None:
    """Check the file and run its requests. This may run again: the check only reads, and a request whose
    result is in the ledger is not run a second time."""
    row = await _row(platform, job)
    if row.in_progress_at is None:
        row = await _check(platform, job, row)
    if job.state.get("expired"):
        return
    ledger = await Ledger.open(job, platform.blobs)
    recorder = Recorder(job, platform.blobs, ledger)
    runner = Runner(platform, inside, job, row, recorder)
    if not await recorded(recorder, runner.run(_lines(platform, row), ledger)):
        await job.save(expired=True)


async def _check(platform: Platform, job: BatchRun, row: Batch) -> Batch:
    """Check the input file, and return the batch's row as it is then. Raise Failed if the file has faults."""
    async with aclosing(_lines(platform, row)) as lines:
        findings = await examine(lines, row.endpoint)
    if findings.faults:
        faults = [msgspec.to_builtins(fault) for fault in findings.faults]
        async with job.write() as session:
            await _update(session, job, details={**row.details, "errors": faults})
        raise Failed(_summary(findings.faults[0], len(faults)))
    async with job.write() as session:
        await _update(
            session,
            job,
            status="IN_PROGRESS",
            in_progress_at=now(),
            total_lines=findings.total_lines,
            model=row.model or findings.model,
        )
    return await _row(platform, job)


def _summary(fault: Fault, count: int) -> str:
    where = "" if fault.line is None else f"Line {fault.line}: "
    more = f" ({count - 1} more errors)" if count > 1 else ""
    return where + fault.message + more


async def _settle(platform: Platform, job: BatchRun, ending: Ending) -> None:
    """Make the output and error files. This may run again: the ledger knows which requests have their result,
    and the files' ids follow from the job's."""
    row = await _row(platform, job)
    if row.in_progress_at is None:
        return
    if row.finalizing_at is None:  # from here on lines are counted as failed that nobody has tried
        tried = row.completed_lines + row.failed_lines
        async with job.write() as session:
            await _update(session, job, finalizing_at=now(), details={**row.details, "tried_lines": tried})
    ledger = await Ledger.open(job, platform.blobs)
    status = _status(job, row, ending)
    if status != "COMPLETED" and ledger.done < row.total_lines:
        recorder = Recorder(job, platform.blobs, ledger)
        await recorded(recorder, _leave_undone(platform, row, ledger, recorder, Error(*UNFINISHED[status])))
        ledger = await Ledger.open(job, platform.blobs)
    output = await _file(platform, job, ledger, OUTPUT)
    errors = await _file(platform, job, ledger, ERRORS)
    await job.save(output_file_id=output, error_file_id=errors)


async def _leave_undone(
    platform: Platform, row: Batch, ledger: Ledger, recorder: Recorder, error: Error
) -> None:
    """Record an error for every request that has no result."""
    item = -1
    try:
        async with aclosing(_lines(platform, row)) as lines:
            async for data in lines:
                item += 1
                if data.strip() and not ledger.is_done(item):
                    custom_id = read_line(data, row.endpoint).custom_id
                    await recorder.add(Result(item, ERRORS, unanswered(custom_id, error)))
    except Failed:
        return  # without the input file nobody knows their custom ids


async def _file(platform: Platform, job: BatchRun, ledger: Ledger, part: Part) -> str:
    """Make the file of this part, and return its id; make none and return "" if the part is empty."""
    if not ledger.size_bytes(part):
        return ""
    file = await files.make(
        platform,
        job.write,
        project_id=job.project_id,
        filename=f"batch_{job.id}_{part}.jsonl",
        purpose="batch_output",
        data=ledger.stream(part),
        file_id=f"file-{job.id}-{part}",
    )
    return file.id


async def _ended(session: AsyncSession, job: BatchRun, ending: Ending) -> None:
    """Write the final state. A batch that could not even be settled keeps the counts in its row."""
    made = {name: job.state.get(name, "") for name in ("output_file_id", "error_file_id")}
    status = _status(job, await session.get_one(Batch, job.id), ending)
    await _update(session, job, status=status, error=ending.error, finished_at=now(), **made)


def _status(job: BatchRun, row: Batch, ending: Ending) -> str:
    expired = {"completed": bool(job.state.get("expired")), "cancelled": is_overdue(row)}
    if expired.get(ending.status):
        return "EXPIRED"
    return _STATUS[ending.status]


async def _lines(platform: Platform, row: Batch) -> AsyncGenerator[bytes]:
    """Yield the lines of the input file. Raise Failed if it has been deleted."""
    try:
        file = await files.find(platform, row.project_id, row.input_file_id)
        lines = cast(AsyncGenerator[bytes], files.lines(platform, file))
        async with aclosing(lines):
            async for line in lines:
                yield line
    except (NotFound, FileNotFoundError):
        raise Failed(f"The input file {row.input_file_id} has been deleted.") from None


async def _row(platform: Platform, job: BatchRun) -> Batch:
    async with platform.database.read() as session:
        return await session.get_one(Batch, job.id)


async def _update(session: AsyncSession, job: BatchRun, **values: Any) -> None:
    await session.execute(update(Batch).where(Batch.id == job.id).values(**values))
