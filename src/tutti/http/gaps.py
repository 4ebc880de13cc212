"""Operations of the API that Tutti does not serve yet: they answer 501 rather than 404."""

import tomllib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter

from tutti.base.errors import NotServed


class Operation(NamedTuple):
    method: str
    path: str


def gaps() -> list[Operation]:
    """Read the operations from gaps.toml, which is also contract/gaps.toml."""
    listed = tomllib.loads(files("tutti.http").joinpath("gaps.toml").read_text())
    return [Operation(*name.split(" ")) for name in listed["operations"]]


def router() -> APIRouter:
    """Return routes for the operations. It is included last: routes that exist are found first."""
    routes = APIRouter(include_in_schema=False)
    for operation in gaps():
        routes.add_api_route(operation.path, _not_served(operation), methods=[operation.method])
    return routes


def _not_served(operation: Operation) -> Callable[[], Awaitable[None]]:
    async def not_served() -> None:
        raise NotServed(f"This server does not serve {operation.method} {operation.path} yet.")

    return not_served
