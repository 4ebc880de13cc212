"""Maintenance of files: deletes unfinished uploads, expired files, and what is left of deleted ones."""

from collections.abc import Sequence

from sqlalchemy import or_, select, update

from tutti.base.clock import now
from tutti.features.files.deletion import purge
from tutti.features.files.parts import forget
from tutti.http.inside import Inside
from tutti.jobs.args import Args
from tutti.jobs.job import Job
from tutti.jobs.kind import Kind
from tutti.platform import Platform
from tutti.store.records import File, Upload

KIND = "file_sweep"
STALE_S = 48 * 3600.0
"""Twice as long as the URLs last: an upload that is still running then is given up."""
_AT_ONCE = 100


def file_sweep(platform: Platform, _inside: Inside) -> Kind[Args]:
    async def run(job: Job[Args]) -> None:
        """Delete what there is to delete. Running again is safe: rows are looked up each time, and bytes are
        deleted before the rows that lead to them."""
        await platform.blobs.delete_unfinished(STALE_S)
        await _give_up(job)
        while uploads := await _stale_uploads(platform):
            for upload in uploads:
                await forget(platform, upload)
        while files := await _deleting(platform):
            for file in files:
                await purge(platform, file.project_id, file.id)

    return Kind(KIND, Args, run, limit=1)


async def _give_up(job: Job[Args]) -> None:
    stale = (File.state == "uploading") & (File.created_at < now() - STALE_S)
    expired = (File.state == "ready") & (File.expires_at < now())
    async with job.write() as session:
        await session.execute(update(File).where(or_(stale, expired)).values(state="deleting"))


async def _stale_uploads(platform: Platform) -> Sequence[Upload]:
    query = select(Upload).where(Upload.created_at < now() - STALE_S).limit(_AT_ONCE)
    async with platform.database.read() as session:
        return (await session.scalars(query)).all()


async def _deleting(platform: Platform) -> Sequence[File]:
    query = select(File).where(File.state == "deleting").limit(_AT_ONCE)
    async with platform.database.read() as session:
        return (await session.scalars(query)).all()
