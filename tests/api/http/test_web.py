"""What browsers, monitors and old clients need: CORS, HEAD, HTTP/1.0, compressed bodies, places to land."""

import asyncio
import contextlib
import gzip
import json
import zlib

import pytest
from tests.api.http.conftest import asking
from tests.support.patience import limit


@pytest.fixture
async def http(shared_url):
    async with asking(shared_url) as session:
        yield session


ORIGIN = "http://localhost:3000"
PREFLIGHT = {
    "origin": ORIGIN,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
    "authorization": "",
}
JSON = {"content-type": "application/json"}


async def raw(http, sent: bytes) -> bytes:
    """All that the server says until it closes."""
    reader, writer = await asyncio.open_connection(http._base_url.host, http._base_url.port)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), limit(60))
    writer.close()
    return answer


def error_of(answer: bytes) -> dict:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


# --- pages in browsers --------------------------------------------------------------------------------------


async def test_a_page_of_this_machine_may_ask_without_a_key_whether_it_may(http):
    async with http.options("/v1/things", headers=PREFLIGHT) as response:
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in response.headers["access-control-allow-methods"]
        assert response.headers["access-control-allow-headers"] == "authorization,content-type"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/things/a", 200),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/broken", 500),
        ("PUT", "/livez", 405),
    ],
)
async def test_every_answer_says_that_the_page_may_read_it(http, method, path, status, capfd):
    async with http.request(method, path, headers={"origin": "http://[::1]:8080"}) as response:
        assert response.status == status
        assert response.headers["access-control-allow-origin"] == "http://[::1]:8080"
        assert "x-request-id" in response.headers["access-control-expose-headers"]
    async with http.request(method, path) as response:
        assert "access-control-allow-origin" not in response.headers


async def test_also_an_answer_without_a_key_and_a_stream(http):
    async with http.get("/v1/things/a", headers={"origin": ORIGIN, "authorization": ""}) as response:
        assert response.status == 401
        assert response.headers["access-control-allow-origin"] == ORIGIN
    async with http.get("/v1/numbers", headers={"origin": ORIGIN}) as response:
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert (await response.text()).endswith("data: [DONE]\n\n")


OTHERS = ["https://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "null"]


@pytest.mark.parametrize("origin", OTHERS)
async def test_other_pages_are_told_that_they_may_not(http, origin):
    async with http.options("/v1/things", headers={**PREFLIGHT, "origin": origin}) as response:
        assert response.status == 403
        assert "access-control-allow-origin" not in response.headers
        assert "--cors-origins" in (await response.json())["error"]["message"]
    async with http.get("/v1/things/a", headers={"origin": origin}) as response:
        assert "access-control-allow-origin" not in response.headers


# --- HEAD, HTTP/1.0 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/livez", "/v1/things/a", "/v1/nothing", "/openapi.json"])
async def test_head_answers_as_get_does_without_a_body(http, path):
    async with http.get(path) as got, http.head(path) as headed:
        assert headed.status == got.status
        assert headed.headers.get("content-length") == got.headers.get("content-length")
        assert headed.content_type == got.content_type
        assert await headed.read() == b""


async def test_head_of_a_stream_ends_with_its_head(http):
    async with http.head("/v1/endless") as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
    async with http.head("/v1/things") as response:
        assert response.status == 405
        assert response.headers["allow"] == "POST"


async def test_http_1_0_gets_no_chunks(http):
    head, _, body = (
        await raw(http, b"GET /v1/numbers HTTP/1.0\r\nauthorization: Bearer any\r\n\r\n")
    ).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"
    whole = await raw(http, b"GET /livez HTTP/1.0\r\n\r\n")
    assert b"content-length: 15\r\n" in whole
    assert whole.endswith(b'{"status":"ok"}')


# --- compressed bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_read(http, coding, pack):
    body = pack(json.dumps({"model": "m" * 5_000}).encode())
    async with http.post("/v1/things", data=body, headers={**JSON, "content-encoding": coding}) as response:
        assert response.status == 200
        assert (await response.json())["body"]["model"] == "m" * 5_000


@pytest.mark.parametrize(
    ("body", "coding", "status", "told"),
    [
        (gzip.compress(b'{"model": "' + b"m" * 50_000_000 + b'"}'), "gzip", 413, "20000 bytes"),
        (gzip.compress(b'{"model": "m"}')[:-4], "gzip", 400, "too early"),
        (gzip.compress(b'{"model": "m"}') + b"x", "gzip", 400, "follows its end"),
        (b'{"model": "m"}', "gzip", 400, "content-encoding"),
        (b"", "gzip", 400, "too early"),
        (b'{"model": "m"}', "br", 415, "gzip, deflate or none"),
        (gzip.compress(gzip.compress(b'{"model": "m"}')), "gzip, gzip", 415, "gzip, deflate or none"),
    ],
    ids=["bomb", "cut", "tail", "plain", "empty", "brotli", "twice"],
)
async def test_a_compressed_body_that_is_too_large_or_broken_is_refused(http, body, coding, status, told):
    async with http.post("/v1/things", data=body, headers={**JSON, "content-encoding": coding}) as response:
        assert response.status == status
        assert told in (await response.json())["error"]["message"]


async def test_a_file_may_not_be_compressed_on_its_way(http):
    headers = {"content-type": "application/octet-stream", "content-encoding": "gzip"}
    async with http.post("/v1/things", data=gzip.compress(b"x"), headers=headers) as response:
        assert response.status == 415
        assert "without content-encoding" in (await response.json())["error"]["message"]


# --- where to go --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/openai/v1", "/docs", "/version", "/livez"])
async def test_the_places_where_people_knock_need_no_key_and_lead_on(http, path):
    async with http.get(path, headers={"authorization": ""}) as response:
        assert response.status == 200
    async with http.get("/", headers={"authorization": ""}) as response:
        links = [link for link in (await response.json()).values() if str(link).startswith("/")]
    for link in links:
        async with http.get(link) as response:
            assert response.status != 404 or link == "/v1/models"  # the feature here has none
    async with http.get("/docs") as response:
        assert "/v1/things" in await response.text()


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/thing", "POST /v1/things"),
        ("/things", "POST /v1/things"),
        ("/V1/Things", "POST /v1/things"),
        ("/v1/things/x/part", None),
        ("/zzzzzzzzzzzzzzz", None),
        ("/" + "v1/things" * 2_000, None),
    ],
)
async def test_an_unknown_route_names_the_nearest(http, path, hint):
    async with http.post(path, json={}) as response:
        message = (await response.json())["error"]["message"]
        if response.status == 404:
            assert (f"Did you mean {hint}?" in message) if hint else ("Did you mean" not in message)
        else:
            assert response.status == 405


# --- what is not HTTP ---------------------------------------------------------------------------------------

UNREADABLE = [
    (b"nonsense\r\n\r\n", 400),
    (b"GET  HTTP/1.1\r\n\r\n", 400),
    (b"GET livez HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    (b"GET * HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    (b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    (b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    (b"GET /v1/things/\0 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    (b"GET /livez?a=%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 400),
    (b"GET /livez?a=%00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 400),
    (b"GET /v1/%c3%28 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 400),
    (b"GET /?a=\xff HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 400),
    (b"POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", 400),
    (b"POST /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"GET /livez HTTP/1.1\r\nhost: x\r\na: " + b"a" * 300_000, 431),
    (b"GET /" + b"a" * 300_000, 431),
]
TARGETS = [b"/livez", b"/livez?a=%20%c3%a9", b"http://x/livez", b"HTTP://x:80/livez?a=http://y/"]


async def test_what_cannot_be_read_is_a_400_in_the_shape_of_the_api(http):
    for sent, status in UNREADABLE:
        answer = await raw(http, sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status), sent[:80]
        assert set(error_of(answer)) == {"message", "type", "param", "code"}


async def test_trailers_without_an_end_are_not_kept(http):
    """Also where the request has been answered: nobody needs a key for it."""
    reader, writer = await asyncio.open_connection(http._base_url.host, http._base_url.port)
    writer.write(b"POST /v1/things HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
    await reader.readuntil(b"HTTP/1.1 401 ")
    listening = asyncio.create_task(reader.read())
    with contextlib.suppress(ConnectionError):
        while not listening.done():
            writer.write(b"a: " + b"a" * 30_000)
            await writer.drain()
            await asyncio.sleep(0.001)
    await asyncio.wait([listening])
    writer.close()


async def test_targets_of_all_forms_are_read(http):
    for target in TARGETS:
        answer = await raw(http, b"GET " + target + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), target
    root = await raw(http, b"GET http://x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b'"name":"Tutti"' in root
