"""Asking a child over HTTP, with real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tutti.process.probe import get


@asynccontextmanager
async def answering(answer: bytes, *, silent: bool = False) -> AsyncIterator[str]:
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # on a slow machine one may have lost patience already
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if silent:
                await reader.read()
        writer.close()
        await writer.wait_closed()
        done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/progress"
        await done.wait()


async def test_a_body_with_a_length_is_read_without_waiting_for_the_end() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", silent=True) as url:
        assert await get(url, 30) == (200, b"{}")


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async with answering(b"HTTP/1.0 503 no\r\n\r\nloading") as url:
        assert await get(url, 30) == (503, b"loading")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b"\r\n\r\n"])
async def test_what_is_no_whole_answer_is_a_value_error(answer: bytes) -> None:
    async with answering(answer) as url:
        with pytest.raises(ValueError, match=r"HTTP|index"):
            await get(url, 30)


async def test_silence_ends_with_the_time() -> None:
    async with answering(b"HTTP/1.1 200", silent=True) as url:
        with pytest.raises(TimeoutError):
            await get(url, 0.1)


async def test_nobody_there_is_an_os_error() -> None:
    with pytest.raises(OSError, match=r"."):
        await get("http://127.0.0.1:1/", 30)
