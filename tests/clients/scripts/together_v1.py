"""Every text operation through `together` 1.5."""

import json

from checks import (
    CHAT,
    DOCUMENTS,
    EMBEDDING,
    FORCED,
    HELLO,
    QUESTION,
    RERANK,
    SCHEMA,
    SLOW,
    TOOLS,
    expect,
    expect_patience,
    run,
)
from together import AsyncTogether, Together
from together.error import AuthenticationError, InvalidRequestError

client = Together()


def check_chat() -> None:
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=16, temperature=0)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "eos", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def check_chat_stream() -> None:
    options = {"model": CHAT, "messages": HELLO, "max_tokens": 16, "temperature": 0}
    chunks = list(client.chat.completions.create(**options, stream=True))
    whole = client.chat.completions.create(**options)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens > 0


async def check_chat_async() -> None:
    client = AsyncTogether()
    answer = await client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8)
    assert answer.choices[0].message.content
    stream = await client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8, stream=True)
    assert "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])


def check_choices_and_logprobs() -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=HELLO, max_tokens=4, n=2, logprobs=1, echo=True, seed=3, stop=["zzz"]
    )
    assert len(answer.choices) == 2
    assert len(answer.choices[0].logprobs.tokens) == len(answer.choices[0].logprobs.token_logprobs) > 0


def check_json_schema_and_forced_tool() -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    answer = client.chat.completions.create(
        model=CHAT, messages=HELLO, response_format=form, max_tokens=128, temperature=0
    )
    assert json.loads(answer.choices[0].message.content)["city"] in ("Paris", "Rome")
    answer = client.chat.completions.create(
        model=CHAT, messages=HELLO, tools=TOOLS, tool_choice=FORCED, max_tokens=128, temperature=0
    )
    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"


def check_completions() -> None:
    options = {"model": CHAT, "prompt": "One two three", "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**options)
    chunks = list(client.completions.create(**options, stream=True))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].text != ""


def check_embeddings() -> None:
    answer = client.embeddings.create(model=EMBEDDING, input=["one", "two"])
    assert [len(row.embedding) for row in answer.data] == [384, 384]


def check_rerank() -> None:
    answer = client.rerank.create(
        model=RERANK, query=QUESTION, documents=DOCUMENTS, top_n=2, return_documents=True
    )
    assert [answer.results[0].index, len(answer.results)] == [1, 2]
    assert answer.results[0].document["text"] == DOCUMENTS[1]


def check_models() -> None:
    models = {model.id: model for model in client.models.list()}
    assert models[CHAT].type.value == "chat" and models[CHAT].pricing is not None


def check_errors() -> None:
    def chat(**options: object) -> None:
        client.chat.completions.create(**{"model": CHAT, "messages": HELLO, **options})

    missing = expect(InvalidRequestError, lambda: chat(model="no/such-model"))
    assert "no/such-model" in str(missing) and missing.http_status == 404
    assert expect(InvalidRequestError, lambda: chat(max_tokens=-5)).http_status == 400
    other = Together(api_key="tutti_wrong")
    expect(AuthenticationError, lambda: other.chat.completions.create(model=CHAT, messages=HELLO))


def retry_429() -> None:
    expect_patience(
        lambda text: client.chat.completions.create(model=SLOW, messages=[{"role": "user", "content": text}])
    )


run(globals())
