"""WebSockets outside the features: how one is refused.

The API reports errors in an event rather than in the handshake, so a socket is accepted first.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tutti.base.errors import (
    InternalError,
    LoadFailed,
    NotFound,
    RateLimited,
    TuttiError,
    Unauthenticated,
    Unavailable,
)

FAILED: Mapping[str, str] = MappingProxyType(
    {
        "/v1/audio/speech/websocket": "conversation.item.tts.failed",
        "/v1/realtime": "conversation.item.input_audio_transcription.failed",
    }
)
"""The event that reports an error, by path."""
_NO_SOCKET = 403
"""The status of a handshake at a path that has no socket."""


def failure(path: str, error: TuttiError, **more: Any) -> bytes:
    """Return the event for the error, with the codes that the API has for it. `more` are further fields."""
    detail = error.body()["error"]
    if isinstance(error, Unauthenticated):
        detail["code"] = error.code or "missing_api_key"
    elif isinstance(error, NotFound):
        detail |= {"code": "model_not_available", "type": "invalid_request_error"}
    elif isinstance(error, LoadFailed):
        detail["code"] = "no_healthy_workers"
    return msgspec.json.encode({"type": FAILED[path], **more, "error": detail})


def close_code(error: TuttiError) -> int:
    """Return the WebSocket close code for the error."""
    if isinstance(error, LoadFailed):
        return 4503  # the 3.1 client then asks another server
    if isinstance(error, RateLimited | Unavailable):
        return 1013
    return 1011 if isinstance(error, InternalError) else 1008


async def refuse(scope: Scope, receive: Receive, send: Send, error: TuttiError) -> int:
    """Accept a socket, send the error and close it. Returns the status for the log."""
    if (await receive())["type"] != "websocket.connect" or scope["path"] not in FAILED:
        await send({"type": "websocket.close"})
        return _NO_SOCKET
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": failure(scope["path"], error).decode()})
    await send({"type": "websocket.close", "code": close_code(error)})
    return error.status
