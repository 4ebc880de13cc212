"""Bodies that break off, written to bare sockets: whatever comes behind or beside them, nothing but the whole
file ever becomes a file. Clients that send no checksum may try again with what is left of it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from itertools import product
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.uploads import LINES, announce, files, has_begun, sha256

from tutti.store.db import Database

HALF = len(LINES) // 2
REST = LINES[HALF:]


class Put:
    """One request of a connection of its own. Without a length it is chunked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunked: bool) -> None:
        self._reader, self._writer, self._chunked = reader, writer, chunked

    async def send(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked and data else data)
        await self._writer.drain()

    async def end(self) -> int:
        """The status of the answer."""
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")
        return await self.status()

    async def status(self) -> int:
        """0: there is none."""
        line = await self._reader.readline()
        return int(line.split()[1]) if line else 0

    def close(self) -> None:
        self._writer.close()

    def half_close(self) -> None:
        """As one that still wants to read the answer."""
        self._writer.write_eof()

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.close()

    def break_in_a_chunk(self) -> None:
        self._writer.write(b"ffff\r\n" if self._chunked else b"")
        self._writer.close()

    def hang(self) -> None:
        pass


class Puts:
    """All that are begun; those that hang are closed with it."""

    def __init__(self, writers: AsyncExitStack) -> None:
        self._writers = writers

    async def begin(self, location: str, length: int | None) -> Put:
        url = urlsplit(location)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        self._writers.push_async_callback(_closed, writer)
        framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\n{framing}\r\n\r\n"
        writer.write(head.encode())
        return Put(reader, writer, length is None)

    async def send(self, location: str, data: bytes, length: int | None) -> int:
        """The status; it breaks off where there is less than the length."""
        put = await self.begin(location, length)
        with suppress(ConnectionError):
            await put.send(data)
            if length is not None and len(data) < length:
                put.half_close()
                return await put.status()
            return await put.end()
        return 0


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
async def puts() -> AsyncIterator[Puts]:
    async with AsyncExitStack() as writers:
        yield Puts(writers)


BREAKS: tuple[Callable[[Put], None], ...] = (
    Put.close,
    Put.half_close,
    Put.reset,
    Put.break_in_a_chunk,
    Put.hang,
)
SECONDS = ((REST, len(REST)), (REST, None), (b"", None), (REST, len(LINES)))
"""What is left, by its own length and without one; nothing, as the 1.x client has it at the file's end; and
what is left with the length of the first, so that it breaks off too."""
NOT_TAKEN = (0, 400, 409)


async def begun(
    puts: Puts, database: Database, client: httpx.AsyncClient, length: int | None
) -> tuple[str, Put]:
    """Where it is put, with half of it sent."""
    announced = await announce(client)
    first = await puts.begin(announced.headers["location"], length)
    await first.send(LINES[:HALF])
    await has_begun(database, announced.headers["x-together-file-id"])
    return announced.headers["location"], first


@pytest.mark.parametrize("length", [len(LINES), None], ids=["with a length", "chunked"])
async def test_no_part_of_a_file_is_taken_for_the_file(
    client: httpx.AsyncClient, database: Database, puts: Puts, length: int | None
) -> None:
    """After each way to break off, and meanwhile."""

    async def broken(break_: Callable[[Put], None], second: tuple[bytes, int | None], beside: bool) -> None:
        location, first = await begun(puts, database, client, length)
        trying = asyncio.create_task(puts.send(location, *second)) if beside else None
        break_(first)
        assert await (trying or puts.send(location, *second)) in NOT_TAKEN

    for break_ in BREAKS:
        await asyncio.gather(*(broken(break_, *it) for it in product(SECONDS, (True, False))))
        assert await files(client) == []


async def test_a_first_attempt_that_goes_on_is_the_file_whatever_came_meanwhile(
    client: httpx.AsyncClient, database: Database, puts: Puts
) -> None:
    for length, second in product((len(LINES), None), SECONDS):
        location, first = await begun(puts, database, client, length)
        assert await puts.send(location, *second) in NOT_TAKEN
        await first.send(REST)
        assert await first.end() == 200
        [file] = await files(client)
        assert (file["bytes"], file["checksum"]) == (len(LINES), sha256(LINES))
        assert await puts.send(location, *second) in NOT_TAKEN
        await client.delete(f"/v1/files/{file['id']}")


@pytest.mark.parametrize("break_", BREAKS, ids=lambda it: it.__name__)
async def test_the_whole_file_with_its_length_or_a_checksum_is_taken_at_the_second_attempt(
    client: httpx.AsyncClient, database: Database, puts: Puts, break_: Callable[[Put], None]
) -> None:
    location, first = await begun(puts, database, client, len(LINES))
    break_(first)
    assert await puts.send(location, LINES, len(LINES)) == 200
    location = (await announce(client, checksum=sha256(LINES), purpose="eval")).headers["location"]
    first = await puts.begin(location, None)
    await first.send(LINES[:HALF])
    break_(first)
    assert await puts.send(location, REST, None) == 400
    assert await puts.send(location, LINES, None) == 200
    assert [file["checksum"] for file in await files(client)] == [sha256(LINES)] * 2
