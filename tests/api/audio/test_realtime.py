"""GET /realtime with a real WebSocket client and the echo engine: every sample but 0 is speech."""

import asyncio
import base64
import contextlib
import json
import random
from typing import Any

import pytest
from tests.api.audio.conftest import CALLED, LISTENER, SPEECH, Talk, failures, talking
from tests.support.engines import Running, until_telling
from tests.support.platform import api
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATH = "/v1/realtime"
FAILED = "conversation.item.input_audio_transcription.failed"


def asking(model: str = LISTENER.name, **query: str) -> str:
    given = {"model": model, "input_audio_format": "pcm_s16le_16000", **query}
    return f"{PATH}?" + "&".join(f"{name}={value}" for name, value in given.items())


async def say(talk: Talk, speech_ms: int, silence_ms: int = 0, rate: int = 16_000) -> None:
    audio = b"\1\2" * (rate * speech_ms // 1000) + b"\0\0" * (rate * silence_ms // 1000)
    await talk.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())


async def completed(talk: Talk) -> dict[str, Any]:
    return (await talk.until("completed"))[-1]


async def test_segments_are_told_as_they_are_spoken(url):
    async with talking(url, asking()) as talk:
        created = await talk.next()
        session = created["session"]
        assert (created["type"], session["object"]) == ("session.created", "realtime.session")
        assert (session["model"], session["modalities"]) == (LISTENER.name, ["audio"])
        assert session["turn_detection"]["min_silence_duration_ms"] == 500
        await say(talk, 300)
        delta = (await talk.until("delta"))[-1]
        assert (delta["delta"], delta["item_id"]) == ("echo of 300 ms", "item_1")
        await say(talk, 200, 600)
        done = await completed(talk)
        assert (done["transcript"], done["item_id"]) == ("echo of 500 ms", "item_1")
        assert (done["start"], done["duration"]) == (0.0, 0.5)
        await say(talk, 100, 600)
        assert (await completed(talk))["item_id"] == "item_2"
        processed = (await talk.until("processed"))[-1]
        assert processed == {"type": "input_audio_buffer.processed", "processed_ms": 1800}


async def test_a_commit_ends_a_segment_and_a_clear_forgets_it(url):
    async with talking(url, asking()) as talk:
        await say(talk, 300)
        await talk.send("input_audio_buffer.clear")
        await say(talk, 100)
        await talk.send("input_audio_buffer.commit")
        assert (await completed(talk))["transcript"] == "echo of 100 ms"


@pytest.mark.parametrize("by", ["query", "message"])
async def test_without_detection_nothing_is_told_before_a_commit(url, by):
    query = {"turn_detection": "none"} if by == "query" else {}
    async with talking(url, asking(**query)) as talk:
        await talk.next()
        if by == "message":
            await talk.send("transcription_session.updated", session={"turn_detection": None})
            updated = await talk.next()
            assert updated == {"type": "transcription_session.updated", "session": {"turn_detection": None}}
        await say(talk, 300, 900)
        await talk.send("input_audio_buffer.commit")
        events = await talk.until("completed")
        assert [it["type"] for it in events[:-1]] == ["input_audio_buffer.processed"]


async def test_detection_can_be_set_by_query_and_by_message(url):
    async with talking(url, asking(turn_detection="server_vad", min_silence_duration_ms="100")) as talk:
        assert (await talk.next())["session"]["turn_detection"]["min_silence_duration_ms"] == 100
        await say(talk, 50, 100)
        await completed(talk)
        change = {"type": "server_vad", "min_silence_duration_ms": 40, "threshold": 0.5}
        await talk.send(
            "transcription_session.updated", session={"turn_detection": change, "prompt": "Well,"}
        )
        session = (await talk.until("updated"))[-1]["session"]["turn_detection"]
        assert session == {
            **change,
            "min_speech_duration_ms": 250,
            "max_speech_duration_s": 5.0,
            "speech_pad_ms": 250,
        }
        await say(talk, 50, 40)
        assert (await completed(talk))["transcript"] == "Well, echo of 50 ms"


GIVEN = {"threshold": 0.4, "silence_duration_ms": 40, "prefix_padding_ms": 90}
HEARD = {"language": "deu", "prompt": "Well,", "model": LISTENER.name}
IN_AUDIO = {
    "type": "transcription",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 16_000},
            "transcription": HEARD,
            "noise_reduction": {"type": "near_field"},
            "turn_detection": {"type": "server_vad", **GIVEN},
        }
    },
}
FLAT = {
    "input_audio_format": "pcm_s16le_16000",
    "input_audio_transcription": HEARD,
    "turn_detection": {"type": "server_vad", **GIVEN},
}


@pytest.mark.parametrize(
    ("kind", "change"),
    [("session.update", IN_AUDIO), ("session.update", FLAT), ("transcription_session.update", FLAT)],
)
async def test_openais_clients_change_a_session_in_their_words(url, kind, change):
    async with talking(url, asking()) as talk:
        created = (await talk.next())["session"]
        await talk.send(kind, session=change, event_id="mine")
        updated = await talk.next()
        assert updated["type"] == f"{kind}d" and updated["event_id"]
        session = updated["session"]
        assert (session["id"], session["type"]) == (created["id"], "transcription")
        sound = session["audio"]["input"]
        assert sound["transcription"] == {**HEARD, "language": "de"}
        assert sound["format"] == {"type": "audio/pcm", "rate": 16_000}
        assert GIVEN.items() <= sound["turn_detection"].items()
        assert session["turn_detection"]["min_silence_duration_ms"] == 40
        await say(talk, 50, 40)
        assert (await completed(talk))["transcript"] == "Well, echo of 50 ms"
        await talk.send(kind, session={"audio": {"input": {"turn_detection": None}}})
        session = (await talk.until("updated"))[-1]["session"]
        assert session["turn_detection"] is None
        assert session["audio"]["input"]["transcription"]["prompt"] == "Well,"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"type": "realtime"}, "session.type"),
        ({"include": ["item.input_audio_transcription.logprobs"]}, "session.include"),
        ({"input_audio_format": "g711_ulaw"}, "session.audio.input.format"),
        ({"input_audio_format": "pcm16"}, "session.audio.input.format"),
        ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "session.audio.input.format"),
        (
            {"input_audio_transcription": {"model": "whisper-1"}},
            "session.audio.input.transcription.model",
        ),
        ({"input_audio_transcription": {"language": "english"}}, "language"),
        ({"turn_detection": {"type": "semantic_vad"}}, None),
        ({"turn_detection": {"threshold": 2}}, None),
        ({"turn_detection": {"silence_duration_ms": -1}}, None),
        ({"prompt": "x" * 5000}, None),
        ("none", None),
    ],
)
async def test_what_cannot_change_is_told_and_nothing_changes(url, change, param):
    async with talking(url, asking()) as talk:
        await talk.next()
        await talk.send("session.update", session=change)
        failed = await talk.next()
        assert (failed["type"], failed["error"]["param"]) == (FAILED, param)
        assert failed["error"]["type"] == "invalid_request_error"
        await talk.send("session.update", session={})
        session = (await talk.next())["session"]
        assert session["turn_detection"]["min_silence_duration_ms"] == 500
        assert session["audio"]["input"]["transcription"]["language"] == "en"


async def test_a_client_that_leaves_while_its_model_loads_is_noticed(tmp_path):
    """Its place is free again: there is one only, and the model never comes."""
    async with api(tmp_path, [LISTENER], max_sockets=1, load_wait_s=600.0) as url, asyncio.timeout(60):
        async with talking(url, asking()) as talk:
            assert (await talk.next())["type"] == "session.created"
            await say(talk, 500)
        while True:
            async with talking(url, asking()) as talk:
                if (await talk.next())["type"] == "session.created":
                    return


@pytest.mark.parametrize(("name", "rate"), [("pcm_s16le_8000", 8_000), ("pcm16", 24_000)])
async def test_sample_rates(url, name, rate):
    async with talking(url, asking(input_audio_format=name)) as talk:
        await say(talk, 200, 500, rate)
        assert (await completed(talk))["transcript"] == "echo of 200 ms"


@pytest.mark.parametrize(("path", "rate"), [("/openai/v1/realtime", 24_000), (PATH, 16_000)])
async def test_without_a_format_it_is_what_the_clients_send(url, path, rate):
    async with talking(url, f"{path}?model={LISTENER.name}") as talk:
        await talk.next()
        sound = {"format": {"type": "audio/pcm", "rate": rate}}
        await talk.send("session.update", session={"audio": {"input": sound}})
        assert (await talk.next())["session"]["audio"]["input"]["format"]["rate"] == rate
        await say(talk, 200, 500, rate)
        assert (await completed(talk))["transcript"] == "echo of 200 ms"


async def test_echo(url):
    async with talking(url, asking()) as talk:
        await talk.next()
        await talk.send("echo", echo_id=7, client_sent_at=1.5, payload={"a": 1})
        answer = await talk.next()
        assert answer["type"] == "echo.response"
        assert (answer["echo_id"], answer["client_sent_at"], answer["payload"]) == (7, 1.5, {"a": 1})
        assert answer["server_sent_at"] >= answer["server_received_at"] > 1e12


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"model": "test/none"}, "model_not_available"),
        ({"model": SPEECH.name}, "model_not_available"),
        ({"model": ""}, None),
        ({"input_audio_format": "mp3"}, None),
        ({"threshold": "2"}, None),
        ({"language": "x"}, None),
        ({"turn_detection": "sometimes"}, None),
    ],
)
async def test_what_is_wrong_with_the_query_is_told(url, query, code):
    async with talking(url, asking(**query)) as talk:
        failed = await talk.next()
        assert (failed["type"], failed["error"]["code"]) == (FAILED, code)
        assert failed["error"]["type"] == "invalid_request_error"
        assert query.keys() & {failed["error"]["param"]} or query == {"model": ""}
        assert await talk.closed() == 1008


async def test_a_wrong_query_is_told_what_is_meant(url):
    async with talking(url, asking(turn_detection="sometimes")) as talk:
        message = (await talk.next())["error"]["message"]
    assert message == "`turn_detection` should be server_vad or none."


async def test_what_the_engine_refuses_is_told_and_not_to_be_tried_again(url):
    async with talking(url, asking(prompt="[[error%20400]]")) as talk:
        failed = (await talk.until("failed"))[-1]
        assert failed["error"]["type"] == "invalid_request_error" and "event_type" not in failed
        assert await talk.closed() == 1008


async def test_without_a_key_the_api_says_so(url):
    async with talking(url, asking(), headers={}) as talk:
        failed = await talk.next()
        assert (failed["type"], failed["error"]["code"]) == (FAILED, "missing_api_key")


async def test_mistakes_are_told_and_the_session_goes_on(url):
    async with talking(url, asking()) as talk:
        await talk.next()
        for wrong in (
            "no json",
            '{"type":"input_audio_buffer.append"}',
            '{"type":"input_audio_buffer.append","audio":"%%%"}',
            '{"type":"transcription_session.updated","session":{"turn_detection":{"threshold":7}}}',
        ):
            await talk.connection.send(wrong)
            assert (await talk.next())["type"] == FAILED
        await say(talk, 100, 600)
        await completed(talk)


async def test_a_client_that_leaves_ends_the_engines_session(url, engine: Running):
    async with talking(url, asking()) as talk:
        await say(talk, 10)
        await talk.until("processed")
        await until_telling(engine, sessions=1)
    await until_telling(engine, sessions=0)


async def test_a_session_that_its_client_ends_is_no_failure(url):
    async with talking(url, asking(CALLED.name)) as talk:
        await say(talk, 100, 600)
        await completed(talk)
    assert await failures(url, CALLED.name) == 0


async def test_a_silent_client_is_dropped_even_if_it_echoes(hasty_url):
    async def echo() -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await talk.send("echo")
                await asyncio.sleep(0.1)

    async with talking(hasty_url, asking()) as talk:
        echoing = asyncio.create_task(echo())
        failed = (await talk.until("failed"))[-1]
        assert failed["error"]["code"] == "idle_timeout"
        echoing.cancel()
    assert await failures(hasty_url, LISTENER.name) == 0


async def test_fuzzed_frames(url):
    shapes = random.Random(5)
    values: list[Any] = [
        "",
        "AAAA",
        "A",
        1,
        None,
        [],
        {},
        {"turn_detection": {}},
        {"turn_detection": 3},
        1e300,
    ]
    types = ["append", "commit", "clear", "x"]
    for _ in range(12):
        async with talking(url, asking()) as talk:
            for _ in range(10):
                event = {
                    shapes.choice(["audio", "session", "echo_id"]): shapes.choice(values) for _ in range(2)
                }
                kind = shapes.choice(
                    [*(f"input_audio_buffer.{it}" for it in types), "echo", "transcription_session.updated"]
                )
                await talk.connection.send(json.dumps({**event, "type": kind}))
            await say(talk, 100, 60_000 if shapes.random() < 0.1 else 600)
            await talk.send("input_audio_buffer.commit")
            await completed(talk)


async def test_many_sessions_at_once(url):
    async def one(number: int) -> str:
        async with talking(url, asking()) as talk:
            await say(talk, 10 + number, 600)
            return (await completed(talk))["transcript"]

    heard = await asyncio.gather(*(one(number) for number in range(50)))
    assert heard == [f"echo of {10 + number} ms" for number in range(50)]
