"""Requests that stop on their way, and a loop that does."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from tests.support.patience import limit

from tutti.app.api import Server
from tutti.app.sockets import OPTIONS
from tutti.app.standstill import log_ended

PATIENCE_S = 1.0
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n"


class Reader:
    """An application that reads a body when it may, and says how large it was."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def __call__(self, scope, receive, send) -> None:
        await self.may_read.wait()
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            self.left.set()
            return
        await Response(str(len(body)))(scope, receive, send)


@pytest.fixture
def app() -> Reader:
    return Reader()


@pytest.fixture
async def connect(app: Reader):
    async with served(app) as port:
        yield lambda: asyncio.open_connection("127.0.0.1", port)


@asynccontextmanager
async def served(app: Reader) -> AsyncIterator[int]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1, **OPTIONS
    )
    server = Server(config, PATIENCE_S)
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    yield listener.getsockname()[1]
    server.should_exit = True
    await task


STOPS = [
    (b"GET / HT", "head"),
    (POST + b"\r\nhalf", "body"),
    (POST + b"upgrade: websocket\r\nconnection: upgr", "head"),
    (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "body"),
    (b"", None),
    (b"\r\n", "head"),
]


async def test_a_request_that_stops_on_its_way_is_ended(connect, app):
    await asyncio.gather(*(_stop(connect, app, *case) for case in STOPS))


async def _stop(connect, app, sent, told):
    reader, writer = await connect()
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), limit(60))
    if told is None:
        assert answer == b""
    else:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert told in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    if told == "body":
        await asyncio.wait_for(app.left.wait(), limit(60))
    writer.close()


async def test_an_empty_line_does_not_keep_a_connection(connect):
    reader, writer = await connect()
    writer.write(POST + b"\r\n" + b"x" * 20)
    await reader.readuntil(b"\r\n\r\n20")
    writer.write(b"\r\n")
    assert (await asyncio.wait_for(reader.read(), limit(60))).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_slow_body_that_moves_is_read_to_its_end(connect):
    reader, writer = await connect()
    writer.write(POST + b"connection: close\r\n\r\n")
    for _ in range(20):
        await asyncio.sleep(PATIENCE_S / 8)
        writer.write(b"x")
    assert (await asyncio.wait_for(reader.read(), limit(60))).endswith(b"\r\n\r\n20")
    writer.close()


async def test_a_client_that_waits_for_us_has_not_stalled(connect, app):
    app.may_read.clear()
    sockets = [await connect() for _ in range(2)]
    size = 1_000_000
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n" % size
    (full, filling), (asking, asker) = sockets
    filling.write(head + b"\r\n" + b"x" * size)  # more than is buffered: reading has paused
    asker.write(head + b"expect: 100-continue\r\n\r\n")
    await asyncio.sleep(PATIENCE_S * 2)
    app.may_read.set()
    await asyncio.wait_for(asking.readuntil(b"100 Continue\r\n\r\n"), 60)
    asker.write(b"x" * size)
    for reader in (full, asking):
        assert (await asyncio.wait_for(reader.read(), limit(60))).endswith(b"\r\n\r\n1000000")
    for _, writer in sockets:
        writer.close()


STANDS = """
import asyncio, sys
from pathlib import Path
from tutti.app.standstill import watched

def compute_for_ever():
    return 7 ** (10 ** 9)

async def main():
    async with watched(Path(sys.argv[1]), 1.0):
        await asyncio.sleep(1.5)
        print("it still moved", flush=True)
        compute_for_ever()

asyncio.run(main())
"""


def test_a_loop_that_stands_still_is_ended_and_says_where_it_stood(tmp_path: Path, caplog):
    done = subprocess.run(
        [sys.executable, "-c", STANDS, str(tmp_path)], stdout=subprocess.PIPE, timeout=limit(100), check=False
    )
    assert (done.returncode, done.stdout) == (1, b"it still moved\n")
    log_ended(tmp_path)
    [line] = caplog.records
    assert "in compute_for_ever" in line.__dict__["stack"]
    log_ended(tmp_path)
    assert len(caplog.records) == 1
