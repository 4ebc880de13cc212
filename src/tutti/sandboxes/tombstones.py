"""Why sessions have ended, for their projects to ask."""

from collections import defaultdict

from tutti.base.clock import monotonic_s

_REMEMBER_S = 3600.0
_MOST = 1000
"""Of one project: one that opens sessions without end makes nobody else's be forgotten."""


class Tombstones:
    def __init__(self) -> None:
        self._reasons: defaultdict[str, dict[str, tuple[str, float]]] = defaultdict(dict)
        """By project and session: the reason, and until when it is remembered. The oldest come first."""

    def put(self, project_id: str, session_id: str, reason: str) -> None:
        of_project = self._reasons[project_id]
        of_project[session_id] = (reason, monotonic_s() + _REMEMBER_S)
        if len(of_project) > _MOST:
            del of_project[next(iter(of_project))]

    def reason(self, project_id: str, session_id: str) -> str | None:
        there = self._reasons.get(project_id, {}).get(session_id)
        return there[0] if there else None

    def forget(self) -> None:
        """Those that are old."""
        for project_id, of_project in list(self._reasons.items()):
            while of_project and next(iter(of_project.values()))[1] <= monotonic_s():
                del of_project[next(iter(of_project))]
            if not of_project:
                del self._reasons[project_id]
