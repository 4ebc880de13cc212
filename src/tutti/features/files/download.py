"""The bytes of a file as an answer: whole or a range, with their exact length, never encoded."""

from collections.abc import AsyncIterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tutti.features.files.ranges import parse_range
from tutti.features.files.service import content
from tutti.platform import Platform
from tutti.store.records import File

MEDIA_TYPE = "text/plain"
"""The contract's media type, which is the same for every kind of file."""


async def answer(platform: Platform, request: Request, file: File) -> Response:
    """Answer with the bytes. The first ones are read before the answer begins, so that an error of the object
    store still has its status."""
    etag = f'"{file.checksum}"'
    wanted = request.headers.get("range")
    if request.headers.get("if-range", etag) != etag:
        wanted = None
    found = parse_range(wanted, file.size_bytes)
    start, end = found or (0, file.size_bytes)
    headers = {**_headers(file, etag), "content-length": str(end - start)}
    if found is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
    status = 200 if found is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    data = content(platform, file, start, end)
    first = await anext(data, b"")
    return StreamingResponse(_chained(first, data), status, headers)


def _headers(file: File, etag: str) -> dict[str, str]:
    return {
        # Not as media_type: a text type would get a charset, which nobody knows here.
        "content-type": MEDIA_TYPE,
        "content-disposition": f"attachment; filename*=utf-8''{quote(file.filename, safe='')}",
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": etag,
    }


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
