"""The reasons why sessions have ended, kept for their projects."""

from collections import defaultdict

from tutti.base.clock import monotonic_s

_REMEMBER_S = 3600.0
_MOST = 1000
"""Reasons kept for one project. A project that opens many sessions displaces only its own."""


class Tombstones:
    def __init__(self) -> None:
        self._reasons: defaultdict[str, dict[str, tuple[str, float]]] = defaultdict(dict)
        """The reason and its expiry time, by project and session, oldest first."""

    def put(self, project_id: str, session_id: str, reason: str) -> None:
        of_project = self._reasons[project_id]
        of_project[session_id] = (reason, monotonic_s() + _REMEMBER_S)
        if len(of_project) > _MOST:
            del of_project[next(iter(of_project))]

    def reason(self, project_id: str, session_id: str) -> str | None:
        found = self._reasons.get(project_id, {}).get(session_id)
        return found[0] if found else None

    def forget(self) -> None:
        """Delete reasons that have expired."""
        for project_id, of_project in list(self._reasons.items()):
            while of_project and next(iter(of_project.values()))[1] <= monotonic_s():
                del of_project[next(iter(of_project))]
            if not of_project:
                del self._reasons[project_id]
