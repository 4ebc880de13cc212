"""In how many writes an answer leaves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from tests.support.http import serve
from tests.support.patience import limit
from uvicorn.server import ServerState

from tutti.app.protocol import Protocol
from tutti.http.stream import ByteStream


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.closed = asyncio.Event()

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()


def application() -> FastAPI:
    app = FastAPI()
    app.add_api_route("/whole", lambda: Response(b"all of it"), methods=["GET", "HEAD"])
    app.add_api_route("/stream", lambda: ByteStream(_pieces(), "text/plain"))
    app.add_api_route("/nothing", lambda: Response(status_code=204))
    return app


async def _pieces() -> AsyncIterator[bytes]:
    yield b"first"
    yield b"second"


async def writes(path: str, method: str = "GET", connection: str = "close") -> list[bytes]:
    wire = Wire()
    config = uvicorn.Config(application(), lifespan="off", log_config=None, access_log=False)
    config.load()
    protocol = Protocol(config, ServerState(), {})
    protocol.connection_made(wire)
    asked = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: {connection}\r\n\r\n"
    protocol.data_received(asked.encode())
    if connection == "close":
        await asyncio.wait_for(wire.closed.wait(), limit(10))
    else:
        while not wire.writes:
            await asyncio.sleep(0)
        protocol.connection_lost(None)
    return wire.writes


async def test_the_head_of_an_answer_leaves_with_its_body():
    [only] = await writes("/whole")
    assert only.startswith(b"HTTP/1.1 200 OK\r\n")
    assert only.endswith(b"\r\n\r\nall of it")


async def test_the_head_of_a_stream_leaves_with_its_first_piece():
    first, second, end = await writes("/stream")
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"\r\n\r\n5\r\nfirst\r\n")
    assert second == b"6\r\nsecond\r\n"
    assert end == b"0\r\n\r\n"


async def test_a_head_without_a_body_does_not_wait_for_one():
    for connection in ("close", "keep-alive"):
        [head] = await writes("/whole", "HEAD", connection)
        assert b"content-length: 9\r\n" in head
        assert head.endswith(b"\r\n\r\n")
        assert (await writes("/nothing", connection=connection))[0].startswith(b"HTTP/1.1 204 ")


async def test_over_a_real_connection_nothing_is_lost():
    async with serve(application()) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        for method, path in (("HEAD", "whole"), ("GET", "nothing"), ("GET", "stream")):
            writer.write(f"{method} /{path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        answered = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        writer.close()
    assert answered.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answered.count(b"HTTP/1.1 204 No Content\r\n") == 1
    assert answered.endswith(b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n")
