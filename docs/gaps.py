"""The operations that are not served yet (`http/gaps.toml`): `make docs` removes those that are by now."""

import re
from collections.abc import Iterator
from pathlib import Path

from fastapi.routing import iter_route_contexts

from docs.jobs import closed_platform
from tutti import http
from tutti.parts.features import FEATURES

GAPS = Path(http.__file__).with_name("gaps.toml")
_LISTED = re.compile(r'\s*"([A-Z]+ [^"]+)"')


def served_operations() -> Iterator[str]:
    """Yield the operations at /v1 that /openapi.json describes, as "METHOD /path"."""
    platform = closed_platform()
    for router in FEATURES:
        for route in iter_route_contexts(router(platform).routes):
            if getattr(route.original_route, "include_in_schema", False):
                yield from (f"{method} {route.path_format}" for method in route.methods or ())


def without_served(text: str) -> str:
    """Return the list without the lines of operations that have a route."""
    served = set(served_operations())
    return "".join(line for line in text.splitlines(keepends=True) if _operation(line) not in served)


def _operation(line: str) -> str:
    listed = _LISTED.match(line)
    return listed[1] if listed else ""
