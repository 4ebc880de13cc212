"""The query parameters of a usage report: which time, which groups, which page."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from tutti.access.caller import Caller
from tutti.base.errors import Forbidden, InvalidRequest

Granularity = Literal["day", "hour"]
Group = Literal["model", "key", "operation"]

GROUPS: tuple[Group, ...] = get_args(Group)
_END_OF_TIME = datetime(2200, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class UsageQuery:
    """The parameters of a report: the time from `start` to before `end` in Unix seconds, but only windows
    numbered above `after`."""

    start: float
    end: float
    granularity: Granularity
    groups: tuple[Group, ...]
    model: str | None
    after: int
    limit: int

    @property
    def window_s(self) -> int:
        return 86_400 if self.granularity == "day" else 3600


def month_range(month: str | None) -> tuple[float, float]:
    """Return the Unix seconds at which a month (YYYY-MM, or else the current one) begins and ends, in UTC."""
    try:
        start = datetime.strptime(month, "%Y-%m") if month else datetime.now(UTC)
    except ValueError:
        raise InvalidRequest(f"`month` must be YYYY-MM, not {month!r}.", param="month") from None
    if not 1970 <= start.year < 2200:
        raise InvalidRequest(f"`month` is out of range: {month}.", param="month")
    start = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    after = (start + timedelta(days=31)).replace(day=1)
    return start.timestamp(), after.timestamp()


def moment(value: str, param: str) -> float:
    """Return the Unix seconds of a moment.

    It is given as Unix seconds, an ISO 8601 time or a date (UTC without an offset). Raises InvalidRequest.
    """
    try:
        seconds = float(value) if value.replace(".", "", 1).isdigit() else _iso(value)
    except (ValueError, OverflowError):
        message = f"`{param}` must be an ISO 8601 date or time, or Unix seconds, not {value!r}."
        raise InvalidRequest(message, param=param) from None
    if not 0 <= seconds < _END_OF_TIME:
        raise InvalidRequest(f"`{param}` is out of range: {value}.", param=param)
    return seconds


def window_number(cursor: str | None) -> int:
    """Return the number of the window that a cursor names; -1, before all windows, without one."""
    if cursor is None:
        return -1
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 9:
        raise InvalidRequest("`after` is not the cursor of an earlier answer.", param="after")
    return int(cursor)


def groups(text: str) -> tuple[Group, ...]:
    """Return the groups of a comma-separated list. `day` and `hour` in it are ignored: `granularity` decides.

    Raises InvalidRequest for other names.
    """
    names = {name.strip() for name in text.split(",")} - {"", "day", "hour"}
    if unknown := names - set(GROUPS):
        message = f"`group_by` may name day, hour, {', '.join(GROUPS)}; not {', '.join(sorted(unknown))}."
        raise InvalidRequest(message, param="group_by")
    return tuple(group for group in GROUPS if group in names)


def check_organization(caller: Caller, organization_id: str | None) -> None:
    if organization_id not in (None, caller.organization_id):
        raise Forbidden("The API key does not belong to this organization.", param="organization_id")


def _iso(value: str) -> float:
    parsed = datetime.fromisoformat(value)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
