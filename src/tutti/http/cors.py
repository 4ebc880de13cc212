"""Cross-origin requests: which pages in browsers may use the API, and the headers that tell them."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tutti.base.errors import Forbidden
from tutti.base.settings import LOOPBACK_PAGES
from tutti.http.errors import error_response

_LOOPBACK = r"https?://(localhost|[a-z0-9-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
_EXPOSED = "x-request-id, x-should-retry, retry-after, content-disposition"
"""The headers of an answer that a page may read, besides those that every page may."""


class Cors:
    """The policy for `origins`, those of the settings. Keys travel in a header and never in a cookie, so no
    answer needs to allow credentials."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._policy = CORSMiddleware(
            _nothing,
            allow_origins=origins,
            allow_origin_regex=_LOOPBACK if LOOPBACK_PAGES in origins else None,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
        )
        self.headers = lru_cache(256)(self._headers)

    def _headers(self, origin: bytes) -> Mapping[str, str]:
        """Return the headers that any answer to a page of this origin needs."""
        page = origin.decode("latin-1")
        if not self._policy.is_allowed_origin(page):
            return {"vary": "origin"}
        return {
            "access-control-allow-origin": page,
            "access-control-expose-headers": _EXPOSED,
            "vary": "origin",
        }

    def preflight(self, asked: Mapping[bytes, bytes]) -> Response | None:
        """Return the answer to a browser's preflight request; None for any other request."""
        if b"origin" not in asked or b"access-control-request-method" not in asked:
            return None
        page = asked[b"origin"].decode("latin-1")
        if not self._policy.is_allowed_origin(page):
            return error_response(_not_allowed(page))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in asked.items()}
        return self._policy.preflight_response(Headers(headers))


def _not_allowed(page: str) -> Forbidden:
    return Forbidden(
        f"Pages of {page[:200]} may not use this server: its operator can allow them with "
        "`tutti serve --cors-origins`.",
        code="origin_not_allowed",
    )


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Stand in for the application that the middleware wants: only its policy is used."""
