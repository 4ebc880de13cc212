"""The connection to a replica that dialects are handed, and the refusals that come over it."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol


class Refusal(Exception):
    """An HTTP error that the engine answered with; `Engine.error` translates it for the client."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"engine answered {status}: {body[:500]!r}")
        self.status = status
        self.body = body


class Upstream(Protocol):
    """A connection to one replica: it sends requests to the replica's address + path (which begins with a
    slash), with `Engine.headers` on every request. Its methods raise Refusal for statuses of 400 and above,
    and `Unavailable` where the replica is gone. Leaving `stream` early aborts the generation at once."""

    @property
    def adapter(self) -> int:
        """The number of the model among the replica's adapters (`Place.adapters`); -1: it is none of them."""
        ...

    async def post(self, path: str, body: bytes) -> bytes: ...

    def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]: ...

    async def upload(self, path: str, content_type: str, body: Sequence[bytes | Path]) -> bytes:
        """Post the pieces one after the other. Files are read as they are sent, once more where the request
        has to move to another replica."""
        ...
