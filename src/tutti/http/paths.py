"""One spelling for every path that the official clients send (they disagree about the base URL).

    //                       /            the 1.x client asks for /v1//tci/execute
    /v1/(v1|v2|v3)/X         /(v1|v2|v3)/X   the 3.x client adds the version to any base URL
    /openai/v1/X             /v1/X        and speaks OpenAI, whoever asks
    /v2/X                    /v1/X        some clients look for v2 resources under /v1, so both work
    /X/                      /X

An escaped slash (%2F) is part of an id: it stays escaped until after routing, and so does %25.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from tutti.base.errors import InvalidRequest

Family = Literal["together", "openai"]

_SLASHES = re.compile(r"/{2,}")
_TWICE = re.compile(r"^/v1/(v[123])(?=/|$)")
_OPENAI = "/openai/v1"


class Path(NamedTuple):
    """A normalised path."""

    path: str
    openai: bool
    """True if the path had the prefix that always speaks OpenAI."""


def normalise(raw_path: bytes) -> Path:
    """Return the path in its one spelling. `raw_path` is as it came over the wire, without the query. Raises
    InvalidRequest."""
    path = _SLASHES.sub("/", _decode(raw_path))
    if len(path) > 1:
        path = path.removesuffix("/")
    openai = path == _OPENAI or path.startswith(_OPENAI + "/")
    if openai:
        path = path.removeprefix("/openai")
    path = _TWICE.sub(r"/\1", path)
    if path.startswith("/v2/"):
        path = "/v1" + path.removeprefix("/v2")
    return Path(path, openai)


def check_query(query: bytes) -> None:
    """Raise InvalidRequest for a query that no field could hold: databases take no NUL."""
    if b"%" not in query:
        return
    try:
        text = unquote_to_bytes(query).decode()
    except UnicodeDecodeError as exc:
        raise InvalidRequest("The query is not UTF-8.") from exc
    if "\0" in text:
        raise InvalidRequest("The query has a NUL character.")


def family(path: Path, user_agent: bytes) -> Family:
    return "openai" if path.openai or user_agent.startswith((b"OpenAI/", b"AsyncOpenAI/")) else "together"


def decode_ids(path_params: Mapping[str, Any]) -> dict[str, Any]:
    """Decode the parts of ids that routing left escaped."""
    return {name: unquote(value) if isinstance(value, str) else value for name, value in path_params.items()}


def _decode(raw_path: bytes) -> str:
    path = raw_path.decode("latin-1")
    if "%" in path:
        kept = path.replace("%25", "%2525").replace("%2F", "%252F").replace("%2f", "%252F")
        try:
            path = unquote(kept, errors="strict")
        except UnicodeDecodeError as exc:
            raise InvalidRequest("The path is not UTF-8.") from exc
    if "\0" in path:
        raise InvalidRequest("The path has a NUL character.")
    return path
