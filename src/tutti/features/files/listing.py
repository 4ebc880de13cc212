"""A project's files, page by page."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import RowMapping, select, tuple_

from tutti.base.errors import InvalidRequest
from tutti.features.files.shapes import stored_purpose
from tutti.platform import Platform
from tutti.store.records import File

MAX_PAGE = 10_000
"""openai's, and its default too: together's clients know no pages."""

Order = Literal["asc", "desc"]


_COLUMNS = (
    File.id,
    File.created_at,
    File.filename,
    File.size_bytes,
    File.purpose,
    File.file_type,
    File.processing_status,
    File.checksum,
    File.expires_at,
)
_FOUND = {
    "valid": File.report["valid"].as_boolean(),
    "nlines": File.report["nlines"].as_integer(),
    "error": File.report["error"].as_string(),
    "error_type": File.report["error_type"].as_string(),
}
"""Of a report. All of it is in the file's own description: a page of ten thousand would be large."""


async def list_files(
    platform: Platform, project_id: str, *, purpose: str | None, after: str | None, order: Order, limit: int
) -> tuple[Sequence[File], bool]:
    """By age, and whether there are more. `after` is the id of the last one of the page before. Of a report
    the files have what a list shows."""
    found = (column.label(name) for name, column in _FOUND.items())
    query = select(*_COLUMNS, *found).where(File.project_id == project_id, File.state == "ready")
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
        rows = (await session.execute(query.order_by(*way).limit(limit + 1))).mappings().all()
    return [_file(row) for row in rows[:limit]], len(rows) > limit


def _file(row: RowMapping) -> File:
    found = {name: row[name] for name in _FOUND if row[name] is not None}
    return File(**{column.key: row[column.key] for column in _COLUMNS}, report=found)
