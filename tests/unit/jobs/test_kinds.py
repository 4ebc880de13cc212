"""The kinds of jobs together: what one project has running keeps no other from its turn."""

from types import SimpleNamespace
from typing import Any

from tutti.jobs.worker import Pace
from tutti.parts.jobs import JOB_KINDS
from tutti.parts.schedule import SCHEDULE


def test_no_kind_waits_for_another_and_no_project_takes_all_places() -> None:
    nothing: Any = SimpleNamespace(database=None, blobs=None)  # kinds only keep what they are given
    kinds = [kind(nothing, nothing) for kind in JOB_KINDS]
    assert all(kind.limit for kind in kinds) and sum(kind.limit for kind in kinds) <= Pace().slots
    assert all(0 < kind.project_limit < kind.limit for kind in kinds if kind.name not in SCHEDULE)
