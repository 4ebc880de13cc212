"""Rows of the caller's project, or a 404: nobody learns whether another project has what isn't there."""

from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Mapped

from tutti.base.errors import NotFound, TuttiError
from tutti.store.db import Database


class OfProject(Protocol):
    """A table whose rows belong to projects."""

    id: Mapped[str]
    project_id: Mapped[str]


R = TypeVar("R", bound=OfProject)


def missing(what: str, id: str, param: str | None = "id") -> NotFound:
    """Return the error for a resource that isn't there, or is another project's. `param` names the field."""
    return NotFound(f"There is no {what} {id}.", param=param, code=f"{what}_not_found")


async def find_owned(
    database: Database,
    table: type[R],
    project_id: str,
    id: str,
    absent: TuttiError,
    *conditions: ColumnElement[bool],
) -> R:
    """Return the project's row with this id that fulfils the conditions; raise `absent` if there is none."""
    query = select(table).where(table.id == id, table.project_id == project_id, *conditions)
    async with database.read() as session:
        row = await session.scalar(query)
    if row is None:
        raise absent
    return row
