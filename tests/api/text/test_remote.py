"""Tutti as the remote of another Tutti, whose dialect is Together's."""

from typing import Any

import pytest
from tests.api.text.conftest import CHAT
from tests.support.engines import At, chat, collect, completion, model, text_of

from tutti.dispatch.upstream import HttpUpstream
from tutti.dispatch.wire import Client
from tutti.engines.remote import Remote

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("ask", "verb"), [(chat, "chat"), (completion, "complete")])
async def test_log_probabilities_come_through(url: str, ask: Any, verb: str, stream: bool) -> None:
    options = {"base_url": f"{url}/v1", "dialect": "together", "remote_model": CHAT.name}
    there = model("remote", options=options)
    connections = Client()
    upstream = HttpUpstream(connections, At(f"{url}/v1", {"authorization": "Bearer any"}))
    call = ask("hello big world", model=there, stream=stream, logprobs=2)
    deltas = await collect(getattr(Remote.text, verb)(upstream, call))
    connections.close()
    assert text_of(deltas) == "hello big world"
    tokens = [token for delta in deltas for token in delta.tokens if token.text]
    assert [token.text for token in tokens] == ["hello", " big", " world"]
    assert all(token.logprob is not None and token.logprob <= 0 for token in tokens)
    if stream:
        assert [len(token.top) for token in tokens] == [2, 2, 2]
    else:  # Together's form does not tell which are whose
        assert {it.text for it in tokens[0].top} == {"hello", " big", " world", " alpha"}
        assert tokens[1].top == tokens[2].top == ()
