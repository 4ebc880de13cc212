"""POST /audio/speech and GET /voices, through HTTP, with the echo engine: 20 ms a character."""

import asyncio
import base64
import time
from typing import Any

import httpx
import pytest
from tests.api.audio.conftest import SLOW, SPEECH, sse_of, wav_of
from tests.support.engines import Running, until_telling

pytestmark = pytest.mark.asyncio(loop_scope="session")
TEXT = "Hello there. How are you?"
OPENAI = {"user-agent": "OpenAI/Python 3"}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": SPEECH.name, "input": TEXT, "voice": "heart", **fields}


async def spoken(client: httpx.AsyncClient, headers: Any = None, **fields: Any) -> httpx.Response:
    answer = await client.post("/v1/audio/speech", json=body(**fields), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def chunks_of(answer: httpx.Response) -> bytes:
    return b"".join(base64.b64decode(it["b64"]) for it in sse_of(answer))


@pytest.mark.parametrize(
    ("wanted", "content_type"),
    [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("raw", "application/octet-stream")],
)
async def test_each_format_has_its_content_type_without_parameters(client, wanted, content_type):
    answer = await spoken(client, response_format=wanted)
    assert answer.headers["content-type"] == content_type
    assert answer.content


async def test_wav_is_the_default_and_whole(client):
    answer = await spoken(client)
    assert wav_of(answer.content) == (24_000, len(TEXT) * 480)
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_openais_clients_get_mp3_by_default(client):
    assert (await spoken(client, OPENAI)).headers["content-type"] == "audio/mpeg"
    assert (await spoken(client, stream_format="audio")).headers["content-type"] == "audio/mpeg"


async def test_encoding_and_rate_are_honoured_where_they_are_given(client):
    samples = (len("Hello there.") + len("How are you?")) * 480
    assert len((await spoken(client, response_format="raw")).content) == 2 * samples
    assert (
        len((await spoken(client, response_format="pcm", response_encoding="pcm_f32le")).content)
        == 4 * samples
    )
    assert len((await spoken(client, response_format="raw", sample_rate=8000)).content) == 2 * samples // 3
    assert wav_of((await spoken(client, sample_rate=48_000)).content)[0] == 48_000


async def test_a_stream_has_chunks_of_whole_samples_and_ends(client):
    answer = await spoken(client, stream=True)
    chunks = sse_of(answer)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert {(it["object"], it["model"]) for it in chunks} == {("audio.tts.chunk", SPEECH.name)}
    pieces = [base64.b64decode(it["b64"]) for it in chunks]
    assert all(len(piece) % 2 == 0 and len(piece) <= 24_000 for piece in pieces)
    assert b"".join(pieces) == (await spoken(client, response_format="raw")).content


async def test_a_stream_is_raw_in_the_models_own_encoding_whatever_format_is_named(client):
    """The 1.x client always names wav and pcm_f32le, and reads 16 bit samples."""
    named = await spoken(client, stream=True, response_format="wav", response_encoding="pcm_f32le")
    assert chunks_of(named) == chunks_of(await spoken(client, stream=True))
    asked = await spoken(client, stream=True, response_format="raw", response_encoding="pcm_f32le")
    assert len(chunks_of(asked)) == 4 * 24 * 480


async def test_openais_stream_is_of_its_own_events(client):
    events = sse_of(await spoken(client, OPENAI, stream_format="sse", response_format="pcm"))
    assert [it["type"] for it in events][-2:] == ["speech.audio.delta", "speech.audio.done"]


async def test_the_first_chunk_comes_after_the_first_sentence(client):
    """Each word takes 0.1 s: all of them half a minute."""
    slow = body(model=SLOW.name, input="One. " + "word " * 300 + "end.", stream=True)
    began = time.monotonic()
    async with client.stream("POST", "/v1/audio/speech", json=slow) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                break
    assert time.monotonic() - began < 15


async def test_a_client_that_leaves_ends_the_work(client, slow: Running):
    long = body(model=SLOW.name, input="word " * 300, response_format="raw")
    await until_telling(slow, busy=0)  # an earlier test has left, too
    request = asyncio.create_task(client.post("/v1/audio/speech", json=long))
    await until_telling(slow, busy=1)
    request.cancel()
    await until_telling(slow, busy=0)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": " \n"}, "input"),
        ({"input": "x" * 2001}, "input"),
        ({"input": None}, "input"),
        ({"model": "test/chat"}, "model"),
        ({"response_format": "ogg"}, "response_format"),
        ({"response_encoding": "pcm_u8"}, "response_encoding"),
        ({"sample_rate": 10}, "sample_rate"),
        ({"sample_rate": "24000"}, "sample_rate"),
        ({"bit_rate": 1}, "bit_rate"),
        ({"speed": 9}, "speed"),
        ({"language": "no language"}, "language"),
        ({"extra_params": {"pronunciation_dict": ["no slash"]}}, "extra_params.pronunciation_dict.0"),
    ],
)
async def test_what_is_wrong_is_a_400_that_names_the_field(client, fields, param):
    answer = await client.post("/v1/audio/speech", json=body(**fields))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_rule_of_pronunciation_that_is_none_is_told_what_one_is(client):
    answer = await client.post("/v1/audio/speech", json=body(extra_params={"pronunciation_dict": ["x"]}))
    assert "should be `source/replacement`" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "fields", [{"stream": True}, {}, {"response_format": "raw"}, {"response_format": "mp3"}]
)
async def test_what_the_engine_refuses_is_told_before_anything_is_sent(client, fields):
    answer = await client.post("/v1/audio/speech", json=body(voice="nobody", **fields))
    assert answer.status_code == 400
    assert "no voice nobody" in answer.json()["error"]["message"]


async def test_an_unknown_model_is_a_404(client):
    answer = await client.post("/v1/audio/speech", json=body(model="test/speach"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "test/speech" in answer.json()["error"]["message"]


async def test_the_models_first_voice_is_the_default(client):
    with_default = await client.post("/v1/audio/speech", json={"model": SPEECH.name, "input": TEXT})
    assert with_default.content == (await spoken(client)).content
    assert with_default.content != (await spoken(client, voice="bella")).content


@pytest.mark.parametrize("name", ["alloy", "nova", "onyx", "marin"])
async def test_openais_names_of_voices_are_always_the_same_voice_of_the_model(client, name):
    voices = [(await spoken(client, voice=voice)).content for voice in ("heart", "bella")]
    for wanted in ({}, {"response_format": "wav"}):
        assert (await spoken(client, voice=name, **wanted)).content in voices


async def test_voices(client):
    listed = (await client.get("/v1/voices")).json()["data"]
    mine = {it["model"]: it["voices"] for it in listed}
    assert mine[SPEECH.name] == [{"id": "heart", "name": "heart"}, {"id": "bella", "name": "bella"}]
    assert "test/chat" not in mine
    one = (await client.get("/v1/voices", params={"model": SPEECH.name})).json()["data"]
    assert [it["model"] for it in one] == [SPEECH.name]
    assert (await client.get("/v1/voices", params={"model": "test/none"})).status_code == 404
    assert (await client.get("/v1/voices", params={"model": "test/chat"})).status_code == 400


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/audio/speech/websocket"])
async def test_a_socket_cannot_be_got(client, path):
    answer = await client.get(path)
    assert answer.status_code == 400
    assert "WebSocket" in answer.json()["error"]["message"]
