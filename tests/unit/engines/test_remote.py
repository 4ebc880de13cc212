"""A model that somebody else serves."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.engines import At, Canned, chat, collect, model, text_of
from tests.support.http import answered_by

from tutti.base.errors import LoadFailed
from tutti.base.model import Model
from tutti.dispatch.upstream import HttpUpstream
from tutti.dispatch.wire import Client
from tutti.engines.calls import Sampling
from tutti.engines.place import Place
from tutti.engines.remote import Remote

REMOTE = Remote()
PLACE = Place(folder=Path(), port=0, threads=1)
ANSWER = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'


def remote(**options: Any) -> Model:
    return model("remote", options={"base_url": "http://127.0.0.1:1/v1", **options})


async def asked(which: Model, **fields: Any) -> tuple[str, dict[str, Any]]:
    upstream = Canned([ANSWER])
    await collect(REMOTE.text.chat(upstream, chat(model=which, **fields)))
    return upstream.asked[0]


def test_there_is_nothing_to_start_or_to_keep_in_memory() -> None:
    assert REMOTE.program(remote(), PLACE) is None
    assert REMOTE.memory_bytes(remote()) == 0
    assert (REMOTE.slots(remote()), REMOTE.slots(remote(slots=3))) == (64, 3)


def test_the_address_is_the_base_url() -> None:
    assert REMOTE.address(remote(base_url="http://h/v1/")) == "http://h/v1"
    with pytest.raises(LoadFailed):
        REMOTE.address(remote(base_url=""))


async def test_paths_follow_the_base_url_and_the_name_is_the_remotes() -> None:
    path, body = await asked(remote(remote_model="other/name"))
    assert (path, body["model"]) == ("/chat/completions", "other/name")
    assert (await asked(remote()))[1]["model"] == "some/model"


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("compatible", {"logprobs": True, "max_tokens": 5}),
        ("openai", {"logprobs": True, "max_completion_tokens": 5}),
        ("together", {"logprobs": 1, "max_tokens": 5, "top_k": 3}),
        ("vllm", {"logprobs": True, "max_tokens": 5, "top_k": 3, "return_token_ids": True}),
    ],
)
async def test_each_dialect_gets_the_fields_it_knows(dialect: str, fields: dict[str, Any]) -> None:
    which = remote(dialect=dialect)
    _, body = await asked(which, max_tokens=5, logprobs=0, sampling=Sampling(top_k=3))
    assert body == {"model": "some/model", "stream": False, "messages": body["messages"], **fields}


async def test_an_unknown_dialect_is_an_error_of_the_entry() -> None:
    with pytest.raises(LoadFailed, match=r"options\.dialect"):
        await asked(remote(dialect="klingon"))


def test_a_key_that_is_not_set_is_named_but_nothing_else() -> None:
    assert REMOTE.headers(remote()) == {}
    with pytest.raises(LoadFailed, match="TUTTI_TEST_NO_SUCH_KEY"):
        REMOTE.headers(remote(api_key_env="TUTTI_TEST_NO_SUCH_KEY"))


@asynccontextmanager
async def served(seen: list[dict[str, Any]]) -> AsyncIterator[str]:
    """A server of the dialect that keeps what it is sent."""

    async def answer(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        seen.append(
            {"asked": f"{request.method} {request.path}", "key": request.headers.get("authorization"), **body}
        )
        return web.Response(body=ANSWER, content_type="application/json")

    async with answered_by(answer) as url:
        yield f"{url}/v1"


async def test_a_real_server_gets_the_key_of_the_environment() -> None:
    seen: list[dict[str, Any]] = []
    async with served(seen) as url:
        which = remote(base_url=url, api_key_env="PATH")  # any variable that is surely set
        upstream = HttpUpstream(Client(), At(REMOTE.address(which), REMOTE.headers(which)))
        assert text_of(await collect(REMOTE.text.chat(upstream, chat(model=which)))) == "hi"
    assert seen[0]["asked"] == "POST /v1/chat/completions"
    assert seen[0]["key"].startswith("Bearer /")
