"""The guarded fetcher against real servers on the loopback, which the tests allow one address at a time."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_address

import pytest
from aiohttp import web
from tests.support.http import Handler, answered_by

from tutti.base.errors import InvalidRequest, Unavailable
from tutti.base.internet import Address, is_public
from tutti.fetch.fetch import Fetcher, Posted

Serve = Callable[[Handler], Awaitable[str]]


def only_home(address: Address) -> bool:
    return address == ip_address("127.0.0.1")


FETCHER = Fetcher(allow=only_home)


async def refusal(url: str, fetcher: Fetcher = FETCHER, max_bytes: int = 1000, timeout_s: float = 60) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await fetcher.fetch(url, max_bytes, timeout_s, param="image_url")
    assert caught.value.param == "image_url"
    return caught.value.message


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as servers:
        yield lambda handler: servers.enter_async_context(answered_by(handler))


async def hello(request: web.Request) -> web.Response:
    return web.Response(body=b"hello", content_type="image/png")


# --- what is fetched ----------------------------------------------------------------------------------------


async def test_returns_the_bytes_and_the_bare_content_type(serve: Serve) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="hé", content_type="TEXT/Plain", charset="utf-8")

    fetched = await FETCHER.fetch(await serve(page) + "/a?b=c", 1000, 60)
    assert (fetched.content_type, fetched.data) == ("text/plain", "hé".encode())


async def test_sends_the_host_asked_for_and_no_credentials(serve: Serve) -> None:
    seen: list[web.Request] = []

    async def page(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response()

    port = (await serve(page)).rpartition(":")[2]
    # `localhost` may have ::1 too, and every address must be allowed.
    home = Fetcher(allow=lambda address: address.is_loopback)
    await home.fetch(f"http://localhost:{port}/", 10, 60)
    assert seen[0].headers["host"] == f"localhost:{port}"
    assert not {"authorization", "cookie", "proxy-authorization"} & {name.lower() for name in seen[0].headers}


async def test_follows_redirects_within_what_is_allowed(serve: Serve) -> None:
    target = await serve(hello)

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("second" if request.path == "/first" else target + "/third")

    fetched = await FETCHER.fetch(await serve(away) + "/first", 1000, 60)
    assert (fetched.data, fetched.url) == (b"hello", target + "/third")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_decompresses_what_was_sent_compressed_although_not_asked_for(
    serve: Serve, encoding: str
) -> None:
    async def page(request: web.Request) -> web.Response:
        assert request.headers["accept-encoding"] == "identity"
        body = gzip.compress(b"x" * 900) if encoding == "gzip" else zlib.compress(b"x" * 900)
        return web.Response(body=body, headers={"content-encoding": encoding})

    assert (await FETCHER.fetch(await serve(page), 900, 60)).data == b"x" * 900


async def test_takes_a_body_of_exactly_the_limit(serve: Serve) -> None:
    assert (await FETCHER.fetch(await serve(hello), 5, 60)).data == b"hello"


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "/etc/passwd",
        "//127.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "data:text/plain,hello",
        "http:///x",
        "http://",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:http/",
        "http://user@127.0.0.1/",
        "http://user:password@127.0.0.1/",
        "http://@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com\\.127.0.0.1/",
        "http://127.0.0.1/\\",
        " http://127.0.0.1/",
        "http://127.0.0.1/ ",
        "http://127.0.0.1 /",
        "http://127.0.0.1\t/",
        "http://127.0.0.1\r\nx: y/",
        "http://127.0.0.1\u2028/",
        "http://127.0.0.1\u00a0/",
        "http://127.0.0.1\x00/",
        "http://127%2e0.0.1/",
        "http://exa%6dple.com/",
        "http://[::1%25lo]/",
        "http://[::1",
        "http://1.2.3.4.5/",
        "http://" + "a" * 300 + "/",
        "http://127.0.0.1/" + "a" * 10_000,
    ],
)
async def test_refuses_what_is_not_a_plain_http_url(url: str) -> None:
    await refusal(url, Fetcher(allow=lambda address: True))


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "0"]
)
async def test_refuses_addresses_in_decimal_hexadecimal_octal_or_short_forms(serve: Serve, host: str) -> None:
    port = (await serve(hello)).rpartition(":")[2]
    assert "host or port" in await refusal(f"http://{host}:{port}/", Fetcher(allow=lambda address: True))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:1::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[fd00::1]",
        "[ff0e::1]",
        "localhost",
        "LOCALHOST.",
        "①②⑦.0.0.1",
    ],
)
async def test_refuses_what_is_not_on_the_public_internet(host: str) -> None:
    message = await refusal(f"http://{host}:1/", Fetcher())
    assert "not a public address" in message or "not known" in message


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "1.1.1.1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(ip_address(address))


async def test_refuses_a_name_that_also_has_a_forbidden_address(serve: Serve) -> None:
    port = (await serve(hello)).rpartition(":")[2]
    if len(await asyncio.get_running_loop().getaddrinfo("localhost", port, type=1)) < 2:
        pytest.skip("localhost has one address here")
    assert "not a public address" in await refusal(f"http://localhost:{port}/")


async def test_says_that_a_name_is_unknown() -> None:
    assert "not known" in await refusal("http://no-such-host.invalid/")


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "//127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "http://user@127.0.0.1:{port}/",
        "http://2130706433:{port}/",
        "http://127.0.0.1:{port}\\@example.com/",
        "",
    ],
)
async def test_a_redirect_is_checked_like_a_first_url(serve: Serve, location: str) -> None:
    reached: list[str] = []

    async def target(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response()

    port = (await serve(target)).rpartition(":")[2]

    async def away(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": location.format(port=port)})

    await refusal(await serve(away) + "/")
    assert reached == []


async def test_gives_up_on_a_redirect_loop(serve: Serve) -> None:
    count = 0

    async def loop(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        raise web.HTTPFound(request.path)

    assert "more than 5 redirects" in await refusal(await serve(loop) + "/again")
    assert count == 6


async def test_stops_reading_at_the_size_limit_whether_announced_or_not(serve: Serve) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 1 << 30:
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    async def announced(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 2000)

    assert "larger than 1000 bytes" in await refusal(await serve(endless))
    assert "larger than 1000 bytes" in await refusal(await serve(announced))
    assert sent < 64 << 20


async def test_a_decompression_bomb_is_cut_at_the_limit(serve: Serve) -> None:
    bomb = gzip.compress(b"\0" * (50 << 20))

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"content-encoding": "gzip"})

    assert "larger than 1000000 bytes" in await refusal(await serve(page), max_bytes=1_000_000)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip"])
async def test_refuses_an_encoding_that_it_cannot_undo(serve: Serve, encoding: str) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(body=b"not compressed", headers={"content-encoding": encoding})

    await refusal(await serve(page))


async def test_a_slow_body_ends_at_the_timeout(serve: Serve) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(600):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    started = asyncio.get_running_loop().time()
    assert "within 0.3 s" in await refusal(await serve(drip), timeout_s=0.3)
    assert asyncio.get_running_loop().time() - started < 20


async def test_names_the_status_of_a_failed_fetch(serve: Serve) -> None:
    async def missing(request: web.Request) -> web.Response:
        return web.Response(status=404)

    assert "answered 404" in await refusal(await serve(missing))


async def test_a_broken_or_absent_server_is_the_clients_error(serve: Serve) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
        writer.close()

    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert "broken" in await refusal(f"http://127.0.0.1:{port}/")
    server.close()
    await server.wait_closed()
    assert "cannot be reached" in await refusal("http://127.0.0.1:1/")


async def test_proxies_of_the_environment_are_ignored(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert (await FETCHER.fetch(await serve(hello), 1000, 60)).data == b"hello"


# --- POST ---------------------------------------------------------------------------------------------------


async def post(url: str, fetcher: Fetcher = FETCHER, max_bytes: int = 1000, timeout_s: float = 60) -> Posted:
    headers = {"authorization": "Bearer t"}
    return await fetcher.post(
        url, b"body", headers, max_bytes=max_bytes, timeout_s=timeout_s, param="external_base_url"
    )


async def not_posted(url: str, fetcher: Fetcher = FETCHER) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await post(url, fetcher)
    assert (caught.value.param, caught.value.code) == ("external_base_url", "url_not_posted")
    return caught.value.message


@pytest.mark.parametrize("status", [200, 400, 429, 503])
async def test_a_post_takes_any_answer(serve: Serve, status: int) -> None:
    async def page(request: web.Request) -> web.Response:
        assert (request.method, request.headers["authorization"]) == ("POST", "Bearer t")
        return web.Response(body=await request.read(), status=status, headers={"Retry-After": "3"})

    posted = await post(await serve(page) + "/v1")
    assert (posted.status, posted.data, posted.headers["retry-after"]) == (status, b"body", "3")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_post_is_never_redirected(serve: Serve, status: int) -> None:
    asked: list[str] = []

    async def page(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"location": "/elsewhere"})

    assert "redirects" in await not_posted(await serve(page) + "/v1")
    assert asked == ["/v1"]


async def test_a_post_reaches_public_addresses_only(serve: Serve) -> None:
    asked: list[str] = []

    async def page(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    url = await serve(page)
    assert "not a public address" in await not_posted(url, Fetcher())
    assert "not a public address" in await not_posted(url.replace("127.0.0.1", "localhost"), Fetcher())
    assert asked == []


async def test_the_answer_to_a_post_is_bounded(serve: Serve) -> None:
    async def bomb(request: web.Request) -> web.Response:
        headers = {"content-encoding": "gzip"}
        return web.Response(body=gzip.compress(b"x" * 10_000_000), headers=headers)

    assert "larger than 1000 bytes" in await not_posted(await serve(bomb))


async def test_where_nobody_answers_a_post_may_be_sent_again(serve: Serve) -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    with pytest.raises(Unavailable, match=r"within 0\.2 s"):
        await post(await serve(never), timeout_s=0.2)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await post("http://127.0.0.1:1/")


@pytest.mark.parametrize("url", ["http://10.0.0.1/v1", "http://[::ffff:127.0.0.1]/", "ftp://example.com", ""])
def test_what_can_never_be_fetched_is_known_at_once(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Fetcher().check(url, param="u")
    assert caught.value.param == "u"
    Fetcher().check("https://example.com/v1")
