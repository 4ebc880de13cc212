"""The way out of a sandbox: a real proxy and forwarder, and servers on the loopback, which tests allow."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.patience import limit

from tutti.base.internet import Address
from tutti.sandboxes.egress import Bounds, Egress, ProxyRefusal, is_public_web, parse

BIG = b"x" * 3_000_000
FORWARD = """
import socket, sys, time
from tutti.workers.interpreter import forwarder
with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
forwarder.start(sys.argv[1], port)
print(port, flush=True)
time.sleep(60)
"""
NO_REQUESTS = (
    "",
    "GET / HTTP/1.1",
    "GET https://a/ HTTP/1.1",
    "GET ftp://a/ HTTP/1.1",
    "GET http://u:p@a/ HTTP/1.1",
    "GET http://a/ HTTP/2",
    "GET http:///x HTTP/1.1",
    "GET http://[::1/ HTTP/1.1",
    "CONNECT a HTTP/1.1",
    "CONNECT a:b HTTP/1.1",
    "CONNECT a:99999 HTTP/1.1",
    "CONNECT u@a:443 HTTP/1.1",
    "nonsense",
    "\x00\x01",
)
INWARD = (
    "127.0.0.1",
    "localhost",
    "169.254.169.254",
    "10.0.0.1",
    "[::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::7f00:1]",
)


def only_home(address: Address, port: int) -> bool:
    return address == ip_address("127.0.0.1")


@pytest.fixture
async def site() -> AsyncIterator[TestServer]:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/big":
            return web.Response(body=BIG)
        return web.json_response(
            {
                "url": str(request.url),
                "headers": dict(request.headers),
                "body": (await request.read()).decode(),
            }
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield server


async def exchange(path: Path, said: bytes) -> bytes:
    """All that a proxy answers to this."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(said)
    try:
        async with asyncio.timeout(limit(60)):
            return await reader.read()
    finally:
        writer.close()


async def status(path: Path, said: str) -> str:
    return (await exchange(path, f"{said}\r\n\r\n".encode())).partition(b"\r\n")[0].decode()


# --- through the forwarder, as in a sandbox -----------------------------------------------------------------


async def test_a_client_behind_the_forwarder_reaches_what_is_allowed(
    site: TestServer, tmp_path: Path
) -> None:
    egress = await Egress.start(tmp_path / "out.sock", allow=only_home)
    argv = (sys.executable, "-c", FORWARD, str(tmp_path / "out.sock"))
    forwarder = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert forwarder.stdout is not None
    port = int(await forwarder.stdout.readline())
    async with aiohttp.ClientSession() as http:
        for _ in range(3):
            answer = await http.post(
                f"http://localhost:{site.port}/a%20b?c=%26", data="hello", proxy=f"http://127.0.0.1:{port}"
            )
            seen = await answer.json()
            assert seen["url"].endswith("/a%20b?c=%26")
            assert seen["body"] == "hello"
            assert seen["headers"]["Host"] == f"localhost:{site.port}"
        big = await http.get(site.make_url("/big"), proxy=f"http://127.0.0.1:{port}")
        assert await big.read() == BIG
    forwarder.kill()
    await forwarder.wait()
    await egress.close()


# --- the proxy ----------------------------------------------------------------------------------------------


@pytest.fixture
async def out(tmp_path: Path) -> AsyncIterator[Path]:
    egress = await Egress.start(tmp_path / "out.sock", allow=only_home)
    yield tmp_path / "out.sock"
    await egress.close()


async def test_a_tunnel_carries_bytes_as_they_are(site: TestServer, out: Path) -> None:
    ask = f"CONNECT 127.0.0.1:{site.port} HTTP/1.1\r\nhost: x\r\n\r\n"
    inner = "GET /inner HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n"
    answer = await exchange(out, (ask + inner).encode())
    assert answer.startswith(b"HTTP/1.1 200 Connected\r\n\r\nHTTP/1.1 200 OK")
    assert b"http://example.org/inner" in answer


async def test_a_server_never_sees_what_was_meant_for_the_proxy(site: TestServer, out: Path) -> None:
    ask = f"GET http://127.0.0.1:{site.port}/ HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: secret\r\n\r\n"
    answer = await exchange(out, ask.encode())
    assert b"secret" not in answer
    assert b"evil" not in answer


async def test_a_host_that_is_not_allowed_is_refused_in_the_status_line(
    tmp_path: Path, site: TestServer
) -> None:
    egress = await Egress.start(tmp_path / "out.sock")
    for host in INWARD:
        tunnels = (f"CONNECT {host}:80 HTTP/1.1", f"CONNECT {host}:{site.port} HTTP/1.1")
        for ask in (*tunnels, f"GET http://{host}/ HTTP/1.1"):
            assert (await status(tmp_path / "out.sock", ask)).startswith("HTTP/1.1 403 Only ports 80 and 443")
    await egress.close()


async def test_addresses_in_other_spellings_are_no_hosts(out: Path) -> None:
    for host in ("0x7f.1", "2130706433", "127.1", "017700000001", "[::1%25lo]", "a b"):
        assert " 400 " in await status(out, f"CONNECT {host}:80 HTTP/1.1"), host


@pytest.mark.parametrize("ask", NO_REQUESTS)
async def test_what_is_no_request_to_a_proxy_is_a_400(out: Path, ask: str) -> None:
    assert (await status(out, ask)).startswith("HTTP/1.1 400 ")


async def test_a_host_that_is_not_there_is_a_502(out: Path) -> None:
    assert (await status(out, "CONNECT 127.0.0.1:1 HTTP/1.1")).startswith("HTTP/1.1 502 ")
    assert (await status(out, "CONNECT nobody.invalid:443 HTTP/1.1")).startswith("HTTP/1.1 502 ")


async def test_a_head_without_end_is_refused_at_its_limit(out: Path) -> None:
    assert (await exchange(out, b"GET http://a/ HTTP/1.1\r\nx: " + b"y" * 200_000)).startswith(
        b"HTTP/1.1 400 "
    )


async def test_only_ports_of_the_web_on_public_addresses() -> None:
    assert is_public_web(ip_address("93.184.216.34"), 443)
    assert not is_public_web(ip_address("93.184.216.34"), 22)
    assert not is_public_web(ip_address("192.168.1.1"), 443)


async def test_connections_at_once_are_bounded_and_free_again_after(site: TestServer, tmp_path: Path) -> None:
    path, ask = tmp_path / "out.sock", f"GET http://127.0.0.1:{site.port}/ HTTP/1.0"
    egress = await Egress.start(path, replace(Bounds(), connections=4), only_home)
    kept = [(await asyncio.open_unix_connection(path))[1] for _ in range(4)]
    assert (await status(path, ask)).startswith("HTTP/1.1 429 ")
    for writer in kept:
        writer.close()
    while (line := await status(path, ask)).startswith("HTTP/1.1 429 "):
        await asyncio.sleep(0.01)
    assert " 200 " in line
    await egress.close()


async def test_many_more_connections_are_not_even_listened_to(tmp_path: Path) -> None:
    path = tmp_path / "out.sock"
    egress = await Egress.start(path, replace(Bounds(), connections=4), only_home)
    kept = [await asyncio.open_unix_connection(path) for _ in range(20)]
    for reader, _ in kept[8:]:
        assert await reader.read() == b""
    for _, writer in kept:
        writer.close()
    await egress.close()


async def test_a_session_over_its_bytes_is_cut_off(site: TestServer, tmp_path: Path) -> None:
    path, ask = tmp_path / "out.sock", f"GET http://127.0.0.1:{site.port}/big HTTP/1.0\r\n\r\n".encode()
    egress = await Egress.start(path, replace(Bounds(), total_bytes=1_000_000), only_home)
    for _ in range(2):
        with contextlib.suppress(ConnectionError):
            assert len(await exchange(path, ask)) <= 1_000_000
    await egress.close()


async def test_closing_ends_open_connections_and_removes_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "out.sock"
    egress = await Egress.start(path, replace(Bounds(), head_s=60), only_home)
    reader, writer = await asyncio.open_unix_connection(path)
    while not egress._open:
        await asyncio.sleep(0.01)
    await egress.close()
    async with asyncio.timeout(limit(60)):
        assert await reader.read() == b""
    writer.close()
    assert not path.exists()


async def test_a_socket_may_lie_in_a_folder_with_a_long_name(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    egress = await Egress.start(folder / "out.sock")
    assert (folder / "out.sock").is_socket()
    await egress.close()


def test_a_request_with_headers_that_name_the_way_loses_only_these() -> None:
    request = parse(
        b"PUT http://a.example/x HTTP/1.1\r\nHost: a.example\r\nConnection: x\r\nContent-Length: 3\r\n\r\n"
    )
    assert request.forward == (
        b"PUT /x HTTP/1.1\r\nhost: a.example\r\nContent-Length: 3\r\nconnection: close\r\n\r\n"
    )
    with pytest.raises(ProxyRefusal):
        parse(b"PUT /x HTTP/1.1\r\n\r\n")
