"""The room that a project's files may take, so that others have room too."""

import shutil

from sqlalchemy import case, func, select

from tutti.base.errors import QuotaExceeded
from tutti.platform import Platform
from tutti.store.records import File, Upload, UploadPart

_ANY = 1 << 62


async def room_left(
    platform: Platform, project_id: str, wanted_bytes: int | None = None, *, besides: str = ""
) -> int:
    """Return how many more bytes the project's files may take. Unfinished uploads count, the file `besides`
    doesn't. Raise QuotaExceeded if that is less than `wanted_bytes`, or nothing."""
    most = _most(platform)
    left = most - await _used(platform, project_id, besides)
    if left < max(1, wanted_bytes or 0):
        raise QuotaExceeded(
            f"The files of a project may take {most} bytes here (--project-bytes), {max(0, left)} are left: "
            "delete files, or abort uploads that will not end.",
            code="storage_full",
        )
    return left


def _most(platform: Platform) -> int:
    settings = platform.settings
    if settings.project_bytes:
        return settings.project_bytes
    return _ANY if settings.blob_url else shutil.disk_usage(settings.data_dir).total // 2


async def _used(platform: Platform, project_id: str, besides: str) -> int:
    """Return the bytes in use. An upload under way counts with the length that it announced."""
    size = case((File.size_bytes > 0, File.size_bytes), else_=0)
    these = (File.project_id == project_id) & (File.id != besides)
    files = select(func.coalesce(func.sum(size), 0)).where(these)
    parts = (
        select(func.coalesce(func.sum(UploadPart.size_bytes), 0))
        .join(Upload, Upload.id == UploadPart.upload_id)
        .where(Upload.project_id == project_id)
    )
    async with platform.database.read() as session:
        return int(await session.scalar(files) or 0) + int(await session.scalar(parts) or 0)
