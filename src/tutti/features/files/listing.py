"""A project's files, page by page."""

from sqlalchemy import RowMapping, select

from tutti.base.errors import InvalidRequest
from tutti.features.files.shapes import stored_purpose
from tutti.features.ownership import find_owned
from tutti.features.paging import Order, Page, by_age, cut
from tutti.platform import Platform
from tutti.store.records import File

MAX_PAGE = 10_000
"""The limit of OpenAI's API, and the default too: Together's clients know no pages."""

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
"""The members of a report that a list shows. A file's own description has all of it: a page of ten thousand
would be large."""


async def list_files(
    platform: Platform, project_id: str, *, purpose: str | None, after: str | None, order: Order, limit: int
) -> Page[File]:
    """Return a page of the files by age. `after` is the id of the last file of the page before. Of its report
    a file has only what a list shows."""
    found = (column.label(name) for name, column in _FOUND.items())
    query = select(*_COLUMNS, *found).where(File.project_id == project_id, File.state == "ready")
    if purpose is not None:
        query = query.where(File.purpose == stored_purpose(purpose))
    absent = InvalidRequest(f"There is no file {after} to go on after.", param="after")
    last = None if after is None else await find_owned(platform.database, File, project_id, after, absent)
    query = by_age(query, File, order, last).limit(limit + 1)
    async with platform.database.read() as session:
        rows = (await session.execute(query)).mappings().all()
    return cut([_file(row) for row in rows], limit)


def _file(row: RowMapping) -> File:
    found = {name: row[name] for name in _FOUND if row[name] is not None}
    return File(**{column.key: row[column.key] for column in _COLUMNS}, report=found)
