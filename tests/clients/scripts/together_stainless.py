"""Every text operation through `together` 2.x and 3.x."""

import json

import together
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

client = Together()


def check_chat() -> None:
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=16, temperature=0)
    choice = answer.choices[0]
    assert answer.model == CHAT and answer.object == "chat.completion" and answer.id
    assert choice.message.content and choice.message.role == "assistant"
    assert choice.finish_reason in ("stop", "eos", "length")
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def check_chat_stream() -> None:
    chunks = list(
        client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=16, temperature=0, stream=True)
    )
    whole = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=16, temperature=0)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0].choices[0].delta.role == "assistant"
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert finishes[-1] in ("stop", "eos", "length") and not any(finishes[:-1])
    assert chunks[-1].usage.completion_tokens > 0


async def check_chat_async() -> None:
    async with AsyncTogether() as client:
        answer = await client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8)
        assert answer.choices[0].message.content
        stream = await client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


def check_leaving_a_stream_early() -> None:
    with client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=400, stream=True) as stream:
        next(iter(stream))


def check_choices_and_sampling() -> None:
    answer = client.chat.completions.create(
        model=CHAT,
        messages=HELLO,
        max_tokens=5,
        n=3,
        temperature=0.8,
        top_p=0.9,
        top_k=20,
        min_p=0.01,
        repetition_penalty=1.1,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        seed=1,
        stop=["zzz"],
        logit_bias={"1": 1},
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


def check_logprobs_and_echo() -> None:
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=4, logprobs=1, echo=True)
    lists = answer.choices[0].logprobs
    assert len(lists.tokens) == len(lists.token_logprobs) > 0
    assert all(value <= 0 for value in lists.token_logprobs)


def check_json_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
    answer = client.chat.completions.create(
        model=CHAT, messages=HELLO, response_format=form, max_tokens=128, temperature=0
    )
    assert json.loads(answer.choices[0].message.content)["city"] in ("Paris", "Rome")


def check_regex() -> None:
    form = {"type": "regex", "pattern": "(hello|world)"}
    answer = client.chat.completions.create(model=CHAT, messages=HELLO, response_format=form, max_tokens=16)
    assert answer.choices[0].message.content in ("hello", "world")


def check_forced_tool() -> None:
    answer = client.chat.completions.create(
        model=CHAT, messages=HELLO, tools=TOOLS, tool_choice=FORCED, max_tokens=128, temperature=0
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
    follow_up = [
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'},
    ]
    final = client.chat.completions.create(model=CHAT, messages=follow_up, tools=TOOLS, max_tokens=8)
    assert final.choices[0].finish_reason


def check_completion() -> None:
    answer = client.completions.create(model=CHAT, prompt="One two three", max_tokens=8, temperature=0)
    assert answer.choices[0].text
    assert answer.usage.completion_tokens > 0


def check_completion_stream() -> None:
    options = {"model": CHAT, "prompt": "One two three", "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**options)
    chunks = list(client.completions.create(**options, stream=True))
    text = "".join(choice.text or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].text
    assert chunks[-1].usage.completion_tokens > 0


def check_embeddings() -> None:
    answer = client.embeddings.create(model=EMBEDDING, input=["one", "two"])
    assert [row.index for row in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == len(answer.data[1].embedding) == 384
    assert len(client.embeddings.create(model=EMBEDDING, input="one").data) == 1


def check_rerank() -> None:
    answer = client.rerank.create(
        model=RERANK, query=QUESTION, documents=DOCUMENTS, top_n=2, return_documents=True
    )
    assert answer.results[0].index == 1
    assert len(answer.results) == 2
    assert answer.results[0].document.text == DOCUMENTS[1]
    assert answer.usage.prompt_tokens > 0
    objects = [{"title": "Rome"}, {"title": "Paris, the capital of France"}]
    answer = client.rerank.create(model=RERANK, query=QUESTION, documents=objects, rank_fields=["title"])
    assert answer.results[0].index == 1


def check_models() -> None:
    """3.x has everybody's models and those of the project in two lists, both with pages."""
    if together.__version__.startswith("3."):
        project = client.whoami().project.id
        assert [*client.models.list(project_id=project)] == []
        expect(together.NotFoundError, lambda: client.models.retrieve(CHAT, project_id=project))
        everybody = {model.id: model for model in client.models.list_supported(limit=5)}
        assert len(everybody) > 5
        assert (everybody[CHAT].display_type, everybody[CHAT].capabilities) == ("chat", ["CAPABILITY_CHAT"])
        assert [model.id for model in client.models.list_supported(search=CHAT.lower())] == [CHAT]
        return
    models = {model.id: model for model in client.models.list()}
    assert models[CHAT].type == "chat" and models[CHAT].pricing is not None
    assert client.models.list(dedicated=True) == []


def check_errors() -> None:
    def chat(**options: object) -> None:
        client.chat.completions.create(**{"model": CHAT, "messages": HELLO, **options})

    missing = expect(together.NotFoundError, lambda: chat(model="no/such-model"))
    assert missing.body["error"]["code"] == "model_not_found" and "no/such-model" in str(missing)
    wrong = expect(together.BadRequestError, lambda: chat(temperature="hot"))
    assert wrong.body["error"]["param"] == "temperature"
    expect(together.BadRequestError, lambda: chat(model=EMBEDDING))
    expect(together.NotFoundError, lambda: chat(model="no/such-model", stream=True))
    other = Together(api_key="tutti_wrong")
    expect(
        together.AuthenticationError,
        lambda: other.chat.completions.create(model=CHAT, messages=HELLO),
    )


def retry_429() -> None:
    expect_patience(
        lambda text: client.chat.completions.create(model=SLOW, messages=[{"role": "user", "content": text}])
    )


run(globals())
