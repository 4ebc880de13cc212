"""Pages of lists. A page begins behind the row with a given id (`last_id`), or behind a cursor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, Protocol, TypeVar, TypeVarTuple

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Select, tuple_
from sqlalchemy.orm import Mapped

T = TypeVar("T")
C = TypeVarTuple("C")
Order = Literal["asc", "desc"]
Cursor = Annotated[str, Query(description="`next_cursor` of the page before.")]
CursorLimit = Annotated[int, Query(ge=1, le=1000)]


class Dated(Protocol):
    """A table, or one of its rows, that a list shows by age."""

    id: Mapped[str]
    created_at: Mapped[float]


class IdList(BaseModel, Generic[T]):
    """A list whose next page begins behind `last_id`. An empty one has neither `first_id` nor `last_id`."""

    object: Literal["list"]
    data: list[T]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None


class CursorList(BaseModel, Generic[T]):
    """A list whose next page begins behind `next_cursor`; null on the last page."""

    object: Literal["list"]
    data: list[T]
    next_cursor: str | None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Rows of one page, and whether others follow."""

    rows: Sequence[T]
    has_more: bool

    def cursor(self, key: Callable[[T], str]) -> str | None:
        """Return the key of the last row, behind which the next page begins; None if there is none."""
        return key(self.rows[-1]) if self.has_more else None

    def ends(self, key: Callable[[T], str]) -> dict[str, str]:
        """Return `first_id` and `last_id`; nothing if the page is empty."""
        return {"first_id": key(self.rows[0]), "last_id": key(self.rows[-1])} if self.rows else {}


def cut(rows: Sequence[T], limit: int) -> Page[T]:
    """Return the page of `limit` rows. One row more tells that others follow: read `limit + 1`."""
    return Page(rows[:limit], len(rows) > limit)


def by_age(
    query: Select[*C], table: type[Dated], order: Order = "desc", after: Dated | None = None
) -> Select[*C]:
    """Order the query by age, beginning behind the row `after`. `desc` is newest first; ids decide between
    rows of one age."""
    if after is not None:
        key, place = tuple_(table.created_at, table.id), tuple_(after.created_at, after.id)
        query = query.where(key > place if order == "asc" else key < place)
    columns = (table.created_at, table.id)
    return query.order_by(*(it.asc() if order == "asc" else it.desc() for it in columns))
