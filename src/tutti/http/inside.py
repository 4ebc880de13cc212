"""The API for our own jobs: a request goes through the same code as a client's, without a socket or a key."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope

from tutti.access.caller import Caller
from tutti.base.ids import new_id
from tutti.http.context import Family
from tutti.http.errors import error_response, from_exception
from tutti.http.paths import normalise


@dataclass(frozen=True)
class Answer:
    """The answer to a request of a job; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    request_id: str


class Inside:
    """Calls `app`, the part of the server behind Edge, Auth and Admission; see http/server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def post(self, path: str, body: bytes, caller: Caller, family: Family = "together") -> Answer:
        """Send a POST. `path` is absolute, such as /v1/chat/completions; `body` is JSON. Errors are answers
        too."""
        scope = _scope(path, caller, family)
        recorder = _Recorder()
        try:
            await self._app(scope, _receive(body), recorder)
        except Exception as exc:
            recorder = _Recorder()
            await error_response(from_exception(exc))(scope, _receive(b""), recorder)
        return Answer(recorder.status, recorder.headers, bytes(recorder.body), scope["state"]["request_id"])


class _Recorder:
    """Collects the answer that an application sends."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


def _scope(path: str, caller: Caller, family: Family) -> Scope:
    state: dict[str, Any] = {
        "caller": caller,
        "family": family,
        "request_id": new_id("req"),
        "headers": {},
    }
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": normalise(path.encode()).path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        "client": None,
        "server": None,
        "state": state,
    }


def _receive(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # this client never leaves; the job cancels the whole call
        return messages.pop()

    return receive
