"""The fake engine does what its page says; every other test may rely on it."""

import asyncio
import math
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from tests.support.engines import Running, chat, collect, completion, model, running, text_of
from tests.support.patience import limit

from tutti.base.errors import ContextTooLong, Unavailable
from tutti.engines.answers import Delta
from tutti.engines.calls import ChatCall, Constraint, Sampling
from tutti.engines.echo import Echo
from tutti.engines.place import Place
from tutti.engines.upstream import Refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")
ECHO = Echo()
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
            },
        },
    }
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def echo() -> AsyncIterator[Running]:
    async with running(ECHO, model(context_length=200, options={"dimensions": 8})) as started:
        yield started


async def say(echo: Running, call: ChatCall) -> list[Delta]:
    return await collect(ECHO.text.chat(echo.upstream, call))


@pytest.mark.parametrize("stream", [True, False])
async def test_it_says_the_words_back_one_token_each(echo: Running, stream: bool) -> None:
    deltas = await say(echo, chat("hello big world", stream=stream))
    assert text_of(deltas) == "hello big world"
    assert deltas[-1].finish_reason == "eos"
    usage = deltas[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (4, 3)
    if stream:
        assert [delta.text for delta in deltas] == ["hello", " big", " world", ""]
        assert all(delta.tokens[0].id is not None for delta in deltas[:3])


async def test_the_same_call_gets_the_same_answer_streamed_or_not(echo: Running) -> None:
    whole = await say(echo, chat(logprobs=2))
    pieces = await say(echo, chat(logprobs=2, stream=True))
    tokens = [token for delta in pieces for token in delta.tokens]
    assert tuple(tokens) == whole[0].tokens
    assert [len(token.top) for token in tokens] == [2, 2, 2]


@pytest.mark.parametrize(
    ("fields", "text", "finish"),
    [
        ({"max_tokens": 2}, "hello big", "length"),
        ({"max_tokens": 3}, "hello big world", "eos"),
        ({"stop": ("wor",)}, "hello big ", "stop"),
    ],
)
async def test_limits_and_stops(echo: Running, fields: Mapping[str, Any], text: str, finish: str) -> None:
    deltas = await say(echo, chat(stream=True, **fields))
    assert (text_of(deltas), deltas[-1].finish_reason) == (text, finish)


async def test_the_seed_matters_only_with_a_temperature(echo: Running) -> None:
    async def text(temperature: float, seed: int) -> str:
        return text_of(await say(echo, chat(sampling=Sampling(temperature=temperature, seed=seed))))

    assert await text(0, 1) == await text(0, 2) == "hello big world"
    assert await text(1, 1) == await text(1, 1)
    assert await text(1, 1) != await text(1, 2)


async def test_thinking(echo: Running) -> None:
    assert text_of(await say(echo, chat("think: let me see; yes"))) == "<think>let me see</think>yes"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "foo"}, "no type 'foo'"),
        ({"required": ["a"], "properties": {"a": {"enum": []}}}, "enum is empty"),
        ({"type": []}, "type is empty"),
    ],
)
async def test_a_schema_that_nothing_matches_is_refused(echo: Running, schema: Any, reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        await say(echo, chat("Bob", constraint=Constraint(kind="json_schema", schema=schema)))
    error = ECHO.error(refused.value)
    assert error.status == 400
    assert reason in error.message


async def test_schemas_and_patterns_are_kept(echo: Running) -> None:
    schema = {
        "$defs": {"kind": {"enum": ["x", "y"]}},
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "kind": {"$ref": "#/$defs/kind"},
            "left": {"type": "null"},
        },
        "required": ["name", "kind"],
    }
    answer = text_of(await say(echo, chat("Bob", constraint=Constraint(kind="json_schema", schema=schema))))
    assert msgspec.json.decode(answer) == {"name": "Bob", "kind": "x"}
    answer = text_of(await say(echo, chat("Bob", constraint=Constraint(kind="json_object"))))
    assert msgspec.json.decode(answer) == {"answer": "Bob"}
    pattern = Constraint(kind="regex", pattern="[a-c]+")
    assert text_of(await say(echo, chat("xyz abba", constraint=pattern))) == "abba"


@pytest.mark.parametrize(
    ("text", "choice", "arguments"),
    [
        ('call:add {"a": 5}', "auto", '{"a": 5}'),
        ("please", "required", '{"a":0}'),
        ("please", {"name": "add"}, '{"a":0}'),
    ],
)
async def test_tools(echo: Running, text: str, choice: Any, arguments: str) -> None:
    for stream in (True, False):
        deltas = await say(echo, chat(text, stream=stream, tools=TOOLS, tool_choice=choice))
        calls = [call for delta in deltas for call in delta.tool_calls]
        assert "".join(call.arguments for call in calls) == arguments
        assert (calls[0].name, calls[0].id) == ("add", "call_0")
        assert (deltas[-1].finish_reason, text_of(deltas)) == ("tool_calls", "")


async def test_without_a_reason_to_call_a_tool_it_talks(echo: Running) -> None:
    assert text_of(await say(echo, chat("please", tools=TOOLS))) == "please"


async def test_images_are_counted(echo: Running) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    content = [{"type": "text", "text": "look"}, image, image]
    [delta] = await say(echo, chat(messages=[{"role": "user", "content": content}]))
    assert delta.text == "look [2 images]"
    assert delta.usage is not None and delta.usage.prompt_tokens == 2 + 2 * 64


@pytest.mark.parametrize("stream", [True, False])
async def test_echo_gives_the_prompt_with_its_log_probabilities(echo: Running, stream: bool) -> None:
    first, *rest = await say(echo, chat("hi you", echo=True, logprobs=1, stream=stream))
    assert first.prompt == "user: hi you"
    assert [token.text for token in first.prompt_tokens] == ["user:", " hi", " you"]
    assert [token.logprob is None for token in first.prompt_tokens] == [True, False, False]
    assert text_of(rest) == "hi you"


@pytest.mark.parametrize("stream", [True, False])
async def test_completions(echo: Running, stream: bool) -> None:
    call = completion("hi you", stream=stream, echo=True, logprobs=1)
    first, *rest = await collect(ECHO.text.complete(echo.upstream, call))
    assert first.prompt == "hi you"
    assert text_of(rest) == "hi you"
    assert [token.text for delta in rest for token in delta.tokens] == ["hi", " you"]


async def test_embeddings_are_unit_vectors_near_each_other_for_shared_words(echo: Running) -> None:
    found = await ECHO.embedding.embed(echo.upstream, model(), ["red fox", "red dog", "blue sky", "red fox"])
    vectors = [struct.unpack("<8f", vector) for vector in found.vectors]

    def cosine(one: int, other: int) -> float:
        return sum(a * b for a, b in zip(vectors[one], vectors[other], strict=True))

    assert math.isclose(cosine(0, 0), 1, rel_tol=1e-5)
    assert vectors[0] == vectors[3]
    assert found.prompt_tokens == 8


async def test_relevance_is_the_share_of_the_querys_words(echo: Running) -> None:
    found = await ECHO.rerank.rerank(echo.upstream, model(), "red fox", ["a sky", "the red fox", "red"])
    assert list(found.scores) == [0, 1, 0.5]


async def test_sound_and_pictures(echo: Running) -> None:
    sound = await echo.upstream.post("/v1/audio/speech", b'{"input":"hi","voice":"a"}')
    assert sound[:4] == b"RIFF" and struct.unpack("<I", sound[4:8])[0] == len(sound) - 8
    answer = await echo.upstream.post("/v1/images/generations", b'{"prompt":"red","size":"3x2","n":2}')
    images = msgspec.json.decode(answer, type=dict[str, Any])["data"]
    image = msgspec.convert(images[0]["b64_json"], bytes)
    header, pixels = image[16:24], zlib.decompress(image[image.index(b"IDAT") + 4 : -16])
    assert (len(images), struct.unpack(">II", header), len(pixels)) == (2, (3, 2), 2 * (1 + 3 * 3))


async def test_transcription_takes_a_form(echo: Running) -> None:
    form = aiohttp.FormData()
    form.add_field("model", "x")
    form.add_field("file", b"12345", filename="a.wav", content_type="audio/wav")
    url = echo.address + "/v1/audio/transcriptions"
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
        assert (await response.json())["text"] == "echo of 5 bytes"


async def test_what_does_not_fit_is_refused_in_vllms_words(echo: Running) -> None:
    with pytest.raises(Refusal) as caught:
        await say(echo, chat(max_tokens=500))
    assert isinstance(ECHO.error(caught.value), ContextTooLong)
    assert text_of(await say(echo, chat(max_tokens=500, truncate=True))) == "hello big world"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"messages":[1]}', b'{"messages":[{"role":"user"}],"tools":[1]}']
)
async def test_a_wrong_body_is_a_400(echo: Running, body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        await echo.upstream.post("/v1/chat/completions", body)
    assert caught.value.status == 400


@pytest.mark.parametrize(("directive", "status"), [("[[error 503]]", 503), ("[[error]]", 500)])
async def test_it_refuses_when_told_to(echo: Running, directive: str, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        await say(echo, chat(f"{directive} hello", stream=True))
    assert caught.value.status == status


async def test_directives_are_taken_out_of_the_answer(echo: Running) -> None:
    assert text_of(await say(echo, chat("[[sleep 0.01]] hello"))) == "hello"
    assert len(await say(echo, chat("[[tokens 50]]", stream=True))) == 51


async def progress(echo: Running) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(echo.address + ECHO.progress_path) as response:
        found = ECHO.progress(await response.read())
    return found.busy, found.mark


async def test_a_client_that_leaves_ends_its_generation_at_once(echo: Running) -> None:
    batches = ECHO.text.chat(echo.upstream, chat("[[sleep 60]] hello", stream=True))
    waiting = asyncio.ensure_future(anext(batches))
    while (await progress(echo))[0] == 0:
        await asyncio.sleep(0.01)
    waiting.cancel()
    async with asyncio.timeout(limit(60)):
        while (await progress(echo))[0] > 0:
            await asyncio.sleep(0.01)


async def test_the_mark_moves_with_every_answer(echo: Running) -> None:
    _, before = await progress(echo)
    await say(echo, chat("hello"))
    assert (await progress(echo))[1] > before


async def started(options: Mapping[str, Any], text: str, **fields: Any) -> tuple[list[str], int | None]:
    """The words that came before the program broke or the answer ended, and its exit status."""
    words: list[str] = []
    async with running(ECHO, model(options=options)) as echo:
        try:
            async for batch in ECHO.text.chat(echo.upstream, chat(text, stream=True, **fields)):
                words += [delta.text for delta in batch if delta.text]
        except Unavailable:
            await asyncio.wait_for(echo.process.wait(), limit(30))
        return words, echo.process.returncode


async def test_it_crashes_in_the_middle_of_an_answer() -> None:
    assert await started({}, "[[crash 2]] a b c d") == (["a", " b"], 1)
    assert await started({"crash_after_tokens": 1}, "a b c d") == (["a"], 1)


async def test_it_hangs_with_its_progress() -> None:
    async with running(ECHO, model(options={"slots": 3})) as echo:
        batches = ECHO.text.chat(echo.upstream, chat("[[hang 1]] a b", stream=True))
        assert text_of(list(await anext(batches))) == "a"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(progress(echo), 0.5)
        echo.process.kill()


async def test_its_pace_and_slots() -> None:
    loop = asyncio.get_running_loop()
    async with running(ECHO, model(options={"tokens_per_s": 50, "slots": 1, "guard": True})) as echo:
        began = loop.time()
        texts = await asyncio.gather(*(say(echo, chat(text)) for text in ("hello", "UNSAFE words")))
        assert [text_of(deltas) for deltas in texts] == ["safe", "unsafe\nS1"]
        for _ in range(5):
            await say(echo, chat("UNSAFE"))
        assert loop.time() - began > 5 * 0.02


async def test_its_command_line_has_the_models_options() -> None:
    which = model(context_length=99, options={"slots": 2, "guard": True, "tokens_per_s": 5.5})
    program = ECHO.program(which, Place(folder=Path("/w"), port=4321, threads=1))
    line = " ".join(program.argv[1:])
    assert line == (
        "-m tutti.workers.echo --port 4321 --model some/model"
        " --tokens-per-s 5.5 --slots 2 --context-length 99 --guard"
    )
