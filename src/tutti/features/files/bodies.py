"""Bodies of requests that become files: whole, or not at all."""

from collections.abc import AsyncIterator

from starlette.requests import Request

from tutti.base.errors import InvalidRequest


def whole_body(request: Request) -> AsyncIterator[bytes]:
    """Return the body as it comes. Raise InvalidRequest if headers say that it is only a part of one. A body
    that ends before its announced length raises an error by itself."""
    headers = request.headers
    if "content-range" in headers:
        raise _partial("content-range")
    if headers.get("upload-offset", "0") != "0":
        raise _partial("upload-offset")
    if headers.get("upload-complete", "?1") != "?1":
        raise _partial("upload-complete")
    return request.stream()


def length_of(request: Request) -> int | None:
    """Return the length in bytes that the client announced; None for a body in chunks."""
    length = request.headers.get("content-length")
    return None if length is None else int(length)


def _partial(header: str) -> InvalidRequest:
    return InvalidRequest(
        f"The header `{header}` says that this is only a part of the body: send all of it in one request. "
        "POST /files/multipart/initiate begins an upload in parts.",
        param=header,
    )
