"""What every request gets, whatever the route: paths, ids, error bodies, limits on bodies."""

import asyncio
import json
import re

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.http.conftest import asking
from tests.support.budget import examples
from yarl import URL

from tutti.base.errors import InvalidRequest
from tutti.http.body import check
from tutti.http.gaps import gaps


@pytest.fixture
async def http(shared_url):
    async with asking(shared_url) as session:
        yield session


async def error(response: aiohttp.ClientResponse) -> dict:
    body = await response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-should-retry"] in ("true", "false")
    assert response.headers["x-request-id"]
    return body["error"]


# --- request ids and headers ------------------------------------------------------------------------------


async def test_a_request_has_an_id_which_the_client_may_choose(http):
    async with http.post("/v1/things", json={"model": "m"}) as response:
        made = response.headers["x-request-id"]
        assert (await response.json())["request_id"] == made
        assert made.startswith("req-")
    async with http.post("/v1/things", json={"model": "m"}, headers={"x-request-id": "mine-1"}) as response:
        assert response.headers["x-request-id"] == "mine-1"
    async with http.post("/v1/things", json={"model": "m"}, headers={"x-request-id": "a b"}) as response:
        assert response.headers["x-request-id"].startswith("req-")


async def test_header_names_are_lower_case(http):
    url = http._base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    head = (await reader.read()).split(b"\r\n\r\n")[0]
    writer.close()
    names = [line.split(b":")[0] for line in head.split(b"\r\n")[1:]]
    assert b"x-should-retry" in names
    assert [name.lower() for name in names] == names


# --- paths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/things", "/v1//things", "//v1/things/", "/v1/v1/things", "/v2/things"])
async def test_all_spellings_of_a_path_lead_to_one_route(http, path):
    url = URL(f"{str(http._base_url).rstrip('/')}{path}", encoded=True)
    async with http.post(url, json={"model": "m"}) as response:
        assert response.status == 200


async def test_the_family_comes_from_the_prefix_or_else_from_the_user_agent(http):
    async def of(path: str, agent: str) -> str:
        async with http.post(path, json={"model": "m"}, headers={"user-agent": agent}) as response:
            return (await response.json())["family"]

    assert await of("/v1/things", "curl/8") == "together"
    assert await of("/v1/things", "Together/Python 3.1.1") == "together"
    assert await of("/v1/things", "OpenAI/Python 3.52.0") == "openai"
    assert await of("/v1/things", "AsyncOpenAI/Python 3.52.0") == "openai"
    assert await of("/openai/v1/things", "curl/8") == "openai"


async def test_an_escaped_slash_is_part_of_an_id_until_after_routing(http):
    async with http.get(URL("/v1/things/meta-llama%2FLlama-3/parts", encoded=True)) as response:
        assert (await response.json())["id"] == "meta-llama/Llama-3"
    for path in ("/v1/things/meta-llama%2FLlama-3", "/v1/things/meta-llama/Llama-3"):
        async with http.get(URL(path, encoded=True)) as response:
            assert (await response.json())["id"] == "meta-llama/Llama-3"
    async with http.get(URL("/v1/things/100%25%252F%C3%A9", encoded=True)) as response:
        assert (await response.json())["id"] == "100%%2Fé"


@pytest.mark.parametrize("path", ["/v1/things/%00", "/v1/things/%ff"])
async def test_a_path_that_is_not_text_is_a_400(http, path):
    async with http.get(URL(path, encoded=True)) as response:
        assert response.status == 400
        await error(response)


# --- errors -----------------------------------------------------------------------------------------------


async def test_an_unknown_route_is_a_404_and_a_wrong_method_a_405_that_says_what_is_allowed(http):
    async with http.get("/v1/nothing") as response:
        assert response.status == 404
        assert "/v1/nothing" in (await error(response))["message"]
    async with http.delete("/v1/deployments") as response:
        assert response.status == 405
        assert response.headers["allow"] == "GET, HEAD, POST"
        assert "GET, HEAD, POST" in (await error(response))["message"]


async def test_an_unexpected_error_is_a_500_that_tells_nothing(http, capfd):
    async with http.get("/v1/broken") as response:
        assert response.status == 500
        told = await error(response)
    assert told["type"] == "server_error"
    assert "secret" not in json.dumps(told)


async def test_without_a_key_even_a_gap_is_a_401(http):
    async with http.get("/v1/files", headers={"authorization": ""}) as response:
        assert response.status == 401
        assert (await error(response))["type"] == "authentication_error"


async def test_an_operation_that_is_not_served_yet_says_so(http):
    missing = [(it.method, "/v1" + re.sub(r"{\w+}", "x", it.path)) for it in gaps()]
    for method, path in [*missing, ("GET", "/v2/videos/x")]:
        async with http.request(method, path) as response:
            assert response.status == 501, path
            assert response.headers["x-should-retry"] == "false"
            assert (await error(response))["type"] == "not_implemented_error"


async def test_a_stream_that_fails_before_it_begins_has_a_status(http):
    async with http.get("/v1/stream") as response:
        assert response.status == 503
        assert response.headers["retry-after"] == "2"
        assert (await error(response))["message"] == "loading"


# --- validation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({}, "model", "`model` is required: add it."),
        ({"model": 5}, "model", "`model` should be a valid string."),
        ({"model": "m", "n": "x"}, "n", "`n` should be a valid integer, unable to parse"),
        ({"model": "m", "nn": 1}, "nn", "`nn` is not a parameter of this operation: remove it."),
        (
            {"model": "m", "messages": [{"role": "king"}]},
            "messages.0.role",
            "`messages.0.role` should be 'system' or 'user'.",
        ),
        ({"model": "m", "messages": [{}]}, "messages.0.role", "`messages.0.role` is required: add it."),
        (
            {"model": "m", "messages": [{"role": "user", "content": 5}]},
            "messages.0.content",
            "`messages.0.content` should be a valid string, or a valid list.",
        ),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages.0.content.0.text",
            "`messages.0.content.0.text` is required: add it.",
        ),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "messages.0.content.0.type",
            "`messages.0.content.0.type` should be one of 'text', 'image'.",
        ),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{}]}]},
            "messages.0.content.0.type",
            "`messages.0.content.0.type` is required: add it.",
        ),
        ({"model": "m", "names": []}, "names", "`names` must not be empty."),
        ({"model": "m", "pair": ["one"]}, "pair", "`pair` must have at least 2 items."),
        ([], None, "The body should be a valid dictionary or object"),
    ],
)
async def test_a_validation_error_names_the_field_and_the_remedy(http, body, param, message):
    async with http.post("/v1/things", json=body) as response:
        assert response.status == 400
        told = await error(response)
    assert told["type"] == "invalid_request_error"
    assert told["param"] == param
    assert told["message"].startswith(message)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"model": "m"} x',
        b'{"model": NaN}',
        b'{"model": "m", "anything": 1e999}',
        b'{"model": "m", "n": ' + b"9" * 5000 + b"}",
        b'{"model": "m", "anything": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"model": "m", "anything": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b'{"model": "m", "anything": {"\\udfff": 1}}',
        b"",
    ],
    ids=lambda body: body[:40].decode(errors="replace"),
)
async def test_a_malformed_body_is_a_400(http, body):
    headers = {"content-type": "application/json"}
    async with http.post("/v1/things", data=body, headers=headers) as response:
        assert response.status == 400
        assert (await error(response))["type"] == "invalid_request_error"


async def test_a_body_without_its_content_type_is_a_400_that_says_which(http):
    headers = {"content-type": "text/plain"}
    async with http.post("/v1/things", data=b'{"model": "m"}', headers=headers) as response:
        assert response.status == 400
        assert "content-type: application/json" in (await error(response))["message"]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_a_413(http, chunked):
    body = json.dumps({"model": "m" * 50_000}).encode()

    async def pieces():
        yield body[:5_000]
        yield body[5_000:]

    data = pieces() if chunked else body
    async with http.post("/v1/things", data=data, headers={"content-type": "application/json"}) as response:
        assert response.status == 413
        assert "20000 bytes" in (await error(response))["message"]


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=40,
)


@settings(max_examples=examples(100), deadline=None)
@given(JSON)
def test_every_proper_json_value_passes_the_check(value):
    check(json.dumps(value).encode())


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=64))
def test_the_check_only_ever_raises_invalid_request(body):
    try:
        check(body)
    except InvalidRequest:
        return
    json.loads(body)
