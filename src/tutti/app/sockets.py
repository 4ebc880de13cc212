"""The options for uvicorn: how HTTP connections and WebSockets of clients are served.

WebSockets have no compression (audio does not shrink), and nobody is dropped for a late pong: in the
connection of a player that reads at the pace of speech, pongs wait behind megabytes. Features drop clients
that are silent, or do not read at all.
"""

import asyncio
from typing import Any

from tutti.app.protocol import Protocol

MAX_FRAME_BYTES = 4 * 1024 * 1024


def _websocket(**arguments: Any) -> asyncio.Protocol:
    from tutti.app.websocket import WebSocket  # noqa: PLC0415 - most workers meet none

    return WebSocket(**arguments)


OPTIONS: dict[str, Any] = {
    "http": Protocol,
    "ws": _websocket,
    "ws_max_size": MAX_FRAME_BYTES,
    "ws_ping_timeout": None,
    "ws_per_message_deflate": False,
}
"""For uvicorn.Config."""
