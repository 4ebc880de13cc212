"""URLs that authenticate themselves: for clients that upload a file's bytes to a URL they are given, without
their key.

A URL is good for one method and one path (which names the file), for one project, until it expires. It does
not outlive the server's secret; that its key was revoked meanwhile does not matter.
"""

import hmac
import re
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from tutti.access.caller import Caller
from tutti.base.clock import now
from tutti.base.errors import Forbidden

_MARK = b"tutti-signature="
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


class SignedUrls:
    """Makes and checks signed URLs. `secret` is the server's; the key is derived from it."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"tutti: signed URLs, version 1", "sha256")

    def query(self, method: str, path: str, caller: Caller, lasts_s: float) -> str:
        """Return the query (after the `?`) that authenticates the URL. `path` is from the root, as the server
        knows it after normalising."""
        claims = {
            "tutti-project": caller.project_id,
            "tutti-organization": caller.organization_id,
            "tutti-expires": str(int(now() + lasts_s)),
        }
        return urlencode({**claims, "tutti-signature": self._signature(method, path, claims)})

    def caller(self, scope: Scope) -> Caller | None:
        """Return the caller that the URL was made for; None where it is no signed URL. Raises Forbidden."""
        if _MARK not in scope["query_string"]:
            return None
        claims = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        signature = claims.pop("tutti-signature", "")
        expected = self._signature(scope["method"], scope["path"], claims)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise Forbidden("The signature of this URL is not valid.", code="invalid_signature")
        if now() > int(claims["tutti-expires"]):
            raise Forbidden("This URL has expired: ask for a new one.", code="expired_signature")
        return Caller(
            key_id="signed-url",
            key_name="signed URL",
            project_id=claims["tutti-project"],
            organization_id=claims["tutti-organization"],
        )

    def _signature(self, method: str, path: str, claims: dict[str, str]) -> str:
        signed = "\n".join([method, path, urlencode(sorted(claims.items()))])
        return hmac.digest(self._key, signed.encode(), "sha256").hex()


def origin(request: HTTPConnection) -> str:
    """Return scheme, host and port as the client reached us. The headers of a proxy in front count, and so
    does what a client claims: the URL made of it goes back to nobody but the client."""
    headers: Headers = request.headers
    scheme = headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    host = headers.get("x-forwarded-host", "").split(",")[0].strip()
    if scheme not in ("http", "https"):
        scheme = request.url.scheme
    if not _HOST.fullmatch(host):
        host = request.url.netloc
    return f"{scheme}://{host}"
