"""Asking a child over HTTP how it is doing. An HTTP library would be a tenth of the controller's memory."""

import asyncio
from contextlib import closing
from urllib.parse import urlsplit


async def get(url: str, timeout_s: float) -> tuple[int, bytes]:
    """Return status and body. Raises OSError (a TimeoutError too) or ValueError where there is no sound
    answer."""
    parts = urlsplit(url)
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        with closing(writer):
            # Version 1.0 has no chunks to put together: the body ends by its length, or with the connection.
            writer.write(f"GET {parts.path} HTTP/1.0\r\nhost: {parts.netloc}\r\n\r\n".encode())
            return await _answer(reader)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = _length(head)
        return int(head.split(" ", 2)[1]), await (
            reader.read() if length is None else reader.readexactly(length)
        )
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError) as error:
        raise ValueError("not an HTTP answer") from error


def _length(head: str) -> int | None:
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return None
