"""A project's files, page by page."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select, tuple_

from tutti.base.errors import InvalidRequest
from tutti.features.files.shapes import stored_purpose
from tutti.serving.platform import Platform
from tutti.store.records import File

MAX_PAGE = 10_000
"""openai's, and its default too: together's clients know no pages."""

Order = Literal["asc", "desc"]


async def list_files(
    platform: Platform, project_id: str, *, purpose: str | None, after: str | None, order: Order, limit: int
) -> tuple[Sequence[File], bool]:
    """By age, and whether there are more. `after` is the id of the last one of the page before."""
    query = select(File).where(File.project_id == project_id, File.state == "ready")
    if purpose is not None:
        query = query.where(File.purpose == stored_purpose(purpose))
    key = tuple_(File.created_at, File.id)
    async with platform.database.read() as session:
        if after is not None:
            last = await session.get(File, after)
            if last is None or last.project_id != project_id:
                raise InvalidRequest(f"There is no file {after} to go on after.", param="after")
            place = tuple_(last.created_at, last.id)
            query = query.where(key > place if order == "asc" else key < place)
        way = (it.asc() if order == "asc" else it.desc() for it in (File.created_at, File.id))
        files = (await session.scalars(query.order_by(*way).limit(limit + 1))).all()
    return files[:limit], len(files) > limit
