"""JSON bodies, read whole and checked before anything else looks at them.

Python's own parser lets values through that cannot be served: NaN, lone surrogates, nesting that overflows
the stack of whatever walks the value next. msgspec's refuses all but the last. Other bodies (files) pass
unread.
"""

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutti.base.errors import InvalidRequest, UnsupportedMedia
from tutti.http.inflate import inflated, too_large

MAX_DEPTH = 128
_DECODED = "json"


class JsonBodies:
    """Reads JSON bodies, decodes them, and passes them on. Raises TooLarge, UnsupportedMedia,
    InvalidRequest."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        coding = headers.get(b"content-encoding", b"identity").strip().lower()
        if not _is_json(headers.get(b"content-type", b"")):
            if coding != b"identity":
                raise UnsupportedMedia(
                    "Only JSON may be compressed: send this body without content-encoding."
                )
            await self._app(scope, receive, send)
            return
        body = await _read(receive, self._max_bytes, headers.get(b"content-length", b""))
        if coding != b"identity":
            body = await inflated(body, coding, self._max_bytes)
        if body:
            scope.setdefault("state", {})[_DECODED] = check(body)
        await self._app(scope, _replay(body, receive), send)


def decoded(scope: Scope) -> Any:
    """Return the value of the JSON body; None where there was no JSON body."""
    return scope["state"].get(_DECODED)


def check(body: bytes) -> Any:
    """Decode the body. Raises InvalidRequest."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError as exc:
        raise _too_deep() from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise InvalidRequest(f"The body is not valid JSON: {exc}.") from exc
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise _too_deep()
    return value


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is nested more than {MAX_DEPTH} levels deep.")


def is_deeper(value: Any, levels: int) -> bool:
    """Return True if the value is nested deeper than `levels`. It walks a whole level in one go: a body may
    have a million objects. msgspec makes these types only."""
    level: list[Any] = [value] if _is_container(value) else []
    for _ in range(levels):
        inner = [cast(Iterable[Any], it.values() if type(it) is dict else it) for it in level]
        level = [child for it in inner for child in it if type(child) is dict or type(child) is list]
        if not level:
            return False
    return True


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list)


def _is_json(content_type: bytes) -> bool:
    named = content_type.split(b";", 1)[0].strip().lower()
    return named == b"application/json" or named.endswith(b"+json")


async def _read(receive: Receive, max_bytes: int, content_length: bytes) -> bytes:
    if content_length.isdigit() and int(content_length[:20]) > max_bytes:
        raise too_large(max_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > max_bytes:
            raise too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
