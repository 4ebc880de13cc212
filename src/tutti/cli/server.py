"""The server that a command speaks to, and the error for its refusals."""

from dataclasses import dataclass

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Server:
    """A server's address and key. `url` has no trailing slash or /v1; `at` accepts it with or without
    them."""

    url: str
    key: str

    @classmethod
    def at(cls, base_url: str, api_key: str) -> "Server":
        return cls(base_url.rstrip("/").removesuffix("/v1").rstrip("/"), api_key)


class ApiError(Exception):
    """The server refused, or could not be reached. The message is one line for the user."""
