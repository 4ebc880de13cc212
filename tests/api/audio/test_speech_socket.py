"""GET /audio/speech/websocket with a real WebSocket client and the echo engine: 20 ms a character."""

import asyncio
import contextlib
import json
import random
import time
from typing import Any

import pytest
from tests.api.audio.conftest import (
    AUTHORIZED,
    INTERRUPTED,
    LISTENER,
    SLOW,
    SPEECH,
    audio_of,
    failures,
    talking,
)
from tests.support.engines import until_telling
from tests.support.patience import limit
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/v1/audio/speech/websocket"
FAILED = "conversation.item.tts.failed"


def asking(model: str = SPEECH.name, **query: str) -> str:
    return f"{PATH}?model={model}" + "".join(f"&{name}={value}" for name, value in query.items())


def kinds(events: list[dict]) -> list[str]:
    """In their order, each once for a run of the same."""
    names = [it["type"].rpartition(".")[2] for it in events]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


async def test_text_becomes_audio_and_a_commit_ends_the_item(url):
    async with talking(url, asking(voice="bella")) as talk:
        created = await talk.next()
        assert created["type"] == "session.created" and created["event_id"]
        session = created["session"]
        assert session["object"] == "realtime.tts.session" and session["id"]
        assert (session["model"], session["voice"]) == (SPEECH.name, "bella")
        assert session["modalities"] == ["text", "audio"]
        await talk.send("input_text_buffer.append", text="Hello there. How")
        await talk.send("input_text_buffer.append", text=" are you")
        await talk.send("input_text_buffer.commit")
        events = await talk.until("done")
    assert [it["text"] for it in events if it["type"].endswith("received")] == [
        "Hello there. How",
        " are you",
    ]
    assert {it["item_id"] for it in events if "item_id" in it} == {"tts_1"}
    assert len(audio_of(events)) == 2 * 480 * (len("Hello there.") + len("How are you"))
    assert all(len(it.get("delta", "")) <= 32_000 for it in events)


async def test_a_sentence_is_spoken_before_the_text_is_complete(url):
    async with talking(url, asking()) as talk:
        await talk.send("input_text_buffer.append", text="This is one. And this is n")
        assert kinds(await talk.until("delta")) == ["created", "received", "delta"]


async def test_long_text_without_an_end_is_spoken_too(url):
    async with talking(url, asking(max_partial_length="20")) as talk:
        await talk.send("input_text_buffer.append", text="no end of it and no end of it and")
        assert kinds(await talk.until("delta")) == ["created", "received", "delta"]


async def test_a_clear_stops_what_is_spoken(url, slow):
    """What is to be said takes half a minute. To be stopped is no failure."""
    async with talking(url, asking(INTERRUPTED.name, max_partial_length="2000")) as talk:
        await talk.next()
        await talk.send("input_text_buffer.append", text="One. " + "word " * 300 + ". Another one. And more")
        await talk.until("delta")
        began = time.monotonic()
        await talk.send("input_text_buffer.clear")
        assert (await talk.until("done"))[-1]["item_id"] == "tts_1"
        await talk.send("input_text_buffer.append", text="Two.")
        assert (await talk.until("delta"))[-1]["item_id"] == "tts_2"
        assert time.monotonic() - began < 15
        await talk.send("input_text_buffer.commit")
        await talk.until("done")
    await until_telling(slow, busy=0)
    assert await failures(url, INTERRUPTED.name, 2) == 0


async def test_the_session_can_be_changed(url):
    async with talking(url, asking()) as talk:
        await talk.next()
        change = {"voice": "bella", "language": "fra", "extra_params": {"pronunciation_dict": ["omg/oh my"]}}
        await talk.send("tts_session.updated", session=change)
        session = (await talk.next())["session"]
        assert (session["voice"], session["language"]) == ("bella", "fr")
        assert session["extra_params"] == change["extra_params"]
        await talk.send("tts_session.updated", session={"model": SLOW.name})
        assert (await talk.next())["session"]["model"] == SLOW.name
        await talk.send("tts_session.updated", session={"model": "test/none"})
        failed = await talk.next()
        assert (failed["type"], failed["error"]["code"]) == (FAILED, "model_not_available")


async def test_a_commit_of_nothing_is_done(url):
    async with talking(url, asking()) as talk:
        await talk.send("input_text_buffer.commit")
        assert kinds(await talk.until("done")) == ["created", "done"]


async def test_what_has_no_words_is_left_out(url):
    async with talking(url, asking()) as talk:
        rules = {"pronunciation_dict": ["🙂/a smile"]}
        await talk.send("tts_session.updated", session={"extra_params": rules})
        await talk.send("input_text_buffer.append", text="Sure! 😀!\n---\n🙂\n日本語。🎉")
        await talk.send("input_text_buffer.commit")
        events = await talk.until("done")
        assert len(audio_of(events)) == 960 * sum(map(len, ("Sure!", "😀!", "🙂", "日本語。", "🎉")))
        await talk.send("input_text_buffer.append", text="…")
        await talk.send("input_text_buffer.commit")
        assert kinds(await talk.until("done")) == ["received", "done"]


async def test_an_unknown_voice_fails_and_the_session_goes_on(url):
    async with talking(url, asking(voice="nobody")) as talk:
        await talk.send("input_text_buffer.append", text="Hello.\n" * 20)
        for _ in range(20):
            error = (await talk.until("failed"))[-1]["error"]
            assert error["type"] == "invalid_request_error" and "nobody" in error["message"]
        await talk.send("tts_session.updated", session={"voice": "heart"})
        await talk.send("input_text_buffer.append", text="Hello.")
        await talk.until("delta")


@pytest.mark.parametrize(
    ("headers", "code"), [({}, "missing_api_key"), ({"authorization": "Basic x"}, "missing_api_key")]
)
async def test_without_a_key_the_api_says_so(url, headers, code):
    async with talking(url, asking(), headers=headers) as talk:
        failed = await talk.next()
        assert (failed["type"], failed["error"]["code"]) == (FAILED, code)
        assert await talk.closed() == 1008


@pytest.mark.parametrize("model", ["test/none", LISTENER.name])
async def test_a_model_that_cannot_speak_is_not_available(url, model):
    async with talking(url, asking(model)) as talk:
        failed = await talk.next()
        assert (failed["type"], failed["error"]["code"]) == (FAILED, "model_not_available")
        assert failed["error"]["type"] == "invalid_request_error"
        assert await talk.closed() == 1008


async def test_a_wrong_query_is_told(url):
    async with talking(url, asking(max_partial_length="none")) as talk:
        assert "max_partial_length" in (await talk.next())["error"]["message"]


async def test_mistakes_are_told_and_the_session_goes_on(url):
    async with talking(url, asking()) as talk:
        await talk.next()
        for wrong in (
            "",
            "no json",
            "[]",
            "{}",
            '{"type":"x"}',
            '{"type":"input_text_buffer.append"}',
            "[" * 5000,
        ):
            await talk.connection.send(wrong)
            assert (await talk.next())["type"] == FAILED
        await talk.send("input_text_buffer.append", text="x" * 2001)
        assert (await talk.next())["error"]["code"] == "buffer_full"
        await talk.send("input_text_buffer.append", text="Hello.")
        await talk.until("delta")


async def test_binary_frames_and_endless_mistakes_end_it(url):
    async with talking(url, asking()) as talk:
        await talk.connection.send(b"abc")
        await talk.until("failed")
        assert await talk.closed() == 1003
    async with talking(url, asking()) as talk:
        for _ in range(20):
            await talk.connection.send("{")
        said: list[Any] = []
        with contextlib.suppress(ConnectionClosed):
            async for message in talk.connection:
                said.append(message)
        assert "Too many" in said[-1]


async def test_a_frame_that_is_too_large_ends_it(url):
    async with talking(url, asking()) as talk:
        with contextlib.suppress(ConnectionClosed):
            await talk.connection.send("x" * (4 * 1024 * 1024 + 1))
        assert await talk.closed() == 1009


async def test_a_silent_client_is_dropped(hasty_url):
    async with talking(hasty_url, asking()) as talk:
        failed = (await talk.until("failed"))[-1]
        assert failed["error"]["code"] == "idle_timeout"
        assert await talk.closed() == 1008


async def test_a_client_that_reads_nothing_is_dropped(hasty_url):
    """What it does not read fills the buffers on the way, some megabytes."""
    deaf = {"additional_headers": AUTHORIZED, "max_queue": 1, "ping_interval": None, "close_timeout": 0.1}
    connection = await connect(hasty_url.replace("http", "ws") + asking(), **deaf, open_timeout=limit(60))
    text = json.dumps({"type": "input_text_buffer.append", "text": "word " * 380 + "end.\n"})
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(limit(90)):
            while True:
                await connection.send(text)
                await asyncio.sleep(0.1)


async def test_fuzzed_frames(url):
    """Whatever comes, the answer is an event of the API or the end."""
    shapes = random.Random(4)
    values = [
        "",
        "x",
        1,
        None,
        [],
        {},
        "hello. you",
        "\ud83d",
        {"voice": 3},
        {"a": [1] * 9},
        1e300,
        True,
        "€" * 50,
    ]
    names = ["type", "text", "session", "event_id", "voice"]
    types = [
        "input_text_buffer.append",
        "input_text_buffer.commit",
        "input_text_buffer.clear",
        "tts_session.updated",
        "session.created",
        "",
    ]
    for _ in range(12):
        async with talking(url, asking()) as talk:
            for _ in range(10):
                event = {shapes.choice(names): shapes.choice(values) for _ in range(3)}
                event["type"] = shapes.choice(types)
                await talk.connection.send(json.dumps(event))
            await talk.send("input_text_buffer.append", text="The end.")
            await talk.send("input_text_buffer.commit")
            events = await talk.until("done")
            assert all("type" in it for it in events)


async def test_many_sockets_at_once(url):
    async def one(number: int) -> int:
        async with talking(url, asking()) as talk:
            await talk.send("input_text_buffer.append", text=f"Number {number}")
            await talk.send("input_text_buffer.commit")
            return len(audio_of(await talk.until("done")))

    lengths = await asyncio.gather(*(one(number) for number in range(50)))
    assert lengths == [960 * len(f"Number {number}") for number in range(50)]


async def test_there_are_no_other_sockets(url):
    with pytest.raises(Exception, match="403"):
        async with talking(url, "/v1/nothing"):
            pass
