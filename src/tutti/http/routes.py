"""Errors for requests to routes that do not exist: they name the nearest that do."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cached_property
from re import Pattern
from typing import NamedTuple

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, compile_path

from tutti.base.errors import MethodNotAllowed, NotFound

_ALIKE = 0.5
_LONGEST = 200
"""Longer paths are not compared: that takes time with the square of the length."""


class _Route(NamedTuple):
    path: str
    pattern: Pattern[str]
    methods: frozenset[str]
    is_shown: bool


class Routes:
    """The routes of the application, to search for those that a request may have meant."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    @cached_property
    def _all(self) -> Sequence[_Route]:
        """Read all routes, once, when all of them are there."""
        return [
            _Route(
                context.path_format or path,
                compile_path(path)[0],
                _with_head(context.methods or ()),
                _is_shown(context.original_route),
            )
            for context in iter_route_contexts(self._app.routes)
            for path in [context.path or ""]
        ]

    def not_found(self, method: str, path: str) -> NotFound:
        """Return the error for a path that does not exist, with the nearest that does."""
        nearest = self._nearest(path) if len(path) <= _LONGEST else None
        hint = f" Did you mean {nearest}?" if nearest else ""
        return NotFound(f"There is no {method} {path} here.{hint} /docs lists all there is.")

    def not_allowed(self, method: str, path: str) -> tuple[MethodNotAllowed, str]:
        """Return the error for a method that the path does not have, and the value of the header `allow`."""
        methods = {method for route in self._all if route.pattern.match(path) for method in route.methods}
        allowed = ", ".join(sorted(methods))
        return MethodNotAllowed(f"There is no {method} {path} here: use {allowed}."), allowed

    def _nearest(self, path: str) -> str | None:
        """Return the path that is spelt most alike, with its methods; None where none is similar."""
        matcher = SequenceMatcher(None, b=path.lower(), autojunk=False)

        def likeness(route: _Route) -> float:
            matcher.set_seq1(route.path.lower())
            return matcher.ratio() if matcher.quick_ratio() > _ALIKE else 0.0

        best = max((route for route in self._all if route.is_shown), key=likeness)
        if likeness(best) <= _ALIKE:
            return None
        methods = {method for route in self._all if route.path == best.path for method in route.methods}
        return f"{' or '.join(sorted(methods - {'HEAD'}))} {best.path}"


def _is_shown(route: BaseRoute) -> bool:
    return bool(getattr(route, "include_in_schema", False))


def _with_head(methods: Sequence[str] | set[str]) -> frozenset[str]:
    return frozenset({*methods, "HEAD"} if "GET" in methods else methods)
