"""Which server a command speaks to, and what is said when it refuses."""

from dataclasses import dataclass

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Server:
    """`url` is without a trailing slash or /v1: people set the base with and without it."""

    url: str
    key: str

    @classmethod
    def at(cls, base_url: str, api_key: str) -> "Server":
        return cls(base_url.rstrip("/").removesuffix("/v1").rstrip("/"), api_key)


class ApiError(Exception):
    """The server refused, or could not be reached; the message is one line for people."""
