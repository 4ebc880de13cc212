"""Every text operation through `openai`."""

import json
import os

import openai
from checks import CHAT, EMBEDDING, FORCED, HELLO, SCHEMA, SLOW, TOOLS, expect, expect_patience, run
from openai import AsyncOpenAI, OpenAI

client = OpenAI()


def check_chat() -> None:
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=16, temperature=0)
    assert answer.choices[0].message.content and answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens > 0


def check_chat_stream() -> None:
    options = {"model": CHAT, "messages": HELLO, "max_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**options)
    chunks = list(
        client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens > 0


async def check_chat_async() -> None:
    async with AsyncOpenAI() as client:
        stream = await client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


def check_logprobs() -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=HELLO, max_tokens=4, logprobs=True, top_logprobs=2
    )
    entries = answer.choices[0].logprobs.content
    assert entries and all(entry.logprob <= 0 and len(entry.top_logprobs) <= 2 for entry in entries)


def check_json_schema_and_forced_tool() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(
        model=CHAT, messages=HELLO, response_format=form, max_completion_tokens=128, temperature=0
    )
    assert json.loads(answer.choices[0].message.content)["city"] in ("Paris", "Rome")
    stream = client.chat.completions.create(
        model=CHAT,
        messages=HELLO,
        tools=TOOLS,
        tool_choice=FORCED,
        max_tokens=128,
        temperature=0,
        stream=True,
    )
    pieces = [
        call.function
        for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    ]
    assert [piece.name for piece in pieces if piece.name] == ["get_weather"]
    assert json.loads("".join(piece.arguments or "" for piece in pieces))["city"] in ("Paris", "Rome")


def check_completions() -> None:
    options = {"model": CHAT, "prompt": "One two three", "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**options)
    text = "".join(
        choice.text or ""
        for chunk in client.completions.create(**options, stream=True)
        for choice in chunk.choices
    )
    assert text == whole.choices[0].text != ""


def check_embeddings() -> None:
    answer = client.embeddings.create(model=EMBEDDING, input=["one", "two"])
    plain = client.embeddings.create(model=EMBEDDING, input=["one", "two"], encoding_format="float")
    assert [len(row.embedding) for row in answer.data] == [384, 384]
    assert answer.data[0].embedding == plain.data[0].embedding
    assert answer.usage.prompt_tokens > 0


def check_models() -> None:
    for base in (os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_BASE_URL"].replace("/v1", "/openai/v1")):
        models = OpenAI(base_url=base).models
        assert CHAT in [model.id for model in models.list()]
        assert models.retrieve(CHAT).id == CHAT


def check_errors() -> None:
    def chat(**options: object) -> None:
        client.chat.completions.create(**{"model": CHAT, "messages": HELLO, **options})

    missing = expect(openai.NotFoundError, lambda: chat(model="no/such-model"))
    assert missing.code == "model_not_found"
    assert expect(openai.BadRequestError, lambda: chat(temperature="hot")).param == "temperature"
    other = OpenAI(api_key="tutti_wrong")
    expect(openai.AuthenticationError, lambda: other.chat.completions.create(model=CHAT, messages=HELLO))


def retry_429() -> None:
    expect_patience(
        lambda text: client.chat.completions.create(model=SLOW, messages=[{"role": "user", "content": text}])
    )


run(globals())
