"""The last guard, and the processes that read what is to be enforced."""

import asyncio
from typing import Any

import pytest
from tests.api.text.conftest import Client, chat_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer", "maximum": 5}}}
ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}},
}


def _costly(prime: int) -> dict[str, Any]:
    """Takes the compiler seconds."""
    schema = {"type": "integer", "multipleOf": prime}
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("[[say seven]]", {"response_format": SMALL}),
        ("[[say 7]]", {"response_format": SMALL}),
        ("[[say maybe]]", {"response_format": {"type": "regex", "pattern": "yes|no"}}),
        ('call:add {"a": "x"}', {"tools": [ADD], "tool_choice": "required"}),
    ],
)
async def test_an_answer_that_breaks_its_form_is_an_error(
    client: Client, said: str, fields: dict[str, Any]
) -> None:
    whole = await client.post("/v1/chat/completions", chat_body(said, **fields))
    assert (whole.status_code, whole.json()["error"]["code"]) == (500, "not_enforced")
    streamed = await client.post("/v1/chat/completions", chat_body(said, stream=True, **fields))
    assert "not_enforced" in streamed.text and '"finish_reason":"' not in streamed.text


async def test_an_answer_that_was_cut_off_is_not_judged(client: Client) -> None:
    long = await client.chat("[[say 7 8 9]]", response_format=SMALL, max_tokens=1)
    assert long["choices"][0]["finish_reason"] == "length"
    stopped = await client.chat("[[say 7 8 9]]", response_format=SMALL, stop=["8"])
    assert stopped["choices"][0]["message"]["content"] == "7 "


async def test_what_is_left_out_is_told(client: Client) -> None:
    form = {"type": "json_schema", "schema": {"type": "array", "uniqueItems": True}}
    assert (await client.chat("hi", response_format=form))["warnings"] == [
        {"message": "Not enforced: uniqueItems at / of `response_format`."}
    ]
    *_, last = await client.stream("hi", response_format=form)
    assert last["warnings"]


async def test_a_schema_that_costs_too_much_is_refused_and_the_next_one_is_read(client: Client) -> None:
    refused = [client.refused(response_format=_costly(prime)) for prime in (999_983, 999_979, 999_961)]
    for error in await asyncio.gather(*refused):
        assert error["param"] == "response_format"
        assert "too much time or memory" in error["message"]
    assert (await client.chat("hi", response_format=SMALL))["choices"][0]["message"]["content"] == "0"


async def test_completions_are_held_to_their_form_too(client: Client) -> None:
    assert (await client.complete("0", response_format=SMALL))["choices"][0]["text"] == "0"
    error = await client.refused("/v1/completions", response_format={"type": "regex", "pattern": "(?=a)"})
    assert error["param"] == "response_format.pattern"
