"""POST /audio/transcriptions and /audio/translations, with the echo engine: a word each half second."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.audio.conftest import LISTENER, sse_of
from tests.support.engines import Running, until_telling
from tests.support.fleet import until

pytestmark = pytest.mark.asyncio(loop_scope="session")
FILE = ("a.wav", b"12345", "audio/wav")
TEXT = "echo of 5 bytes"
TRANSCRIBE, TRANSLATE = "/v1/audio/transcriptions", "/v1/audio/translations"


async def heard(client: httpx.AsyncClient, path: str = TRANSCRIBE, headers: Any = None, **fields: Any) -> Any:
    answer = await client.post(
        path, files={"file": FILE}, data={"model": LISTENER.name, **fields}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return answer


async def verbose(client: httpx.AsyncClient, path: str = TRANSCRIBE, **fields: Any) -> Any:
    return (await heard(client, path, response_format="verbose_json", **fields)).json()


@pytest.mark.parametrize("path", [TRANSCRIBE, TRANSLATE])
async def test_json_is_the_text(client, path):
    assert (await heard(client, path)).json() == {"text": TEXT}


@pytest.mark.parametrize(("path", "task"), [(TRANSCRIBE, "transcribe"), (TRANSLATE, "translate")])
async def test_verbose_json_has_segments_and_on_request_words(client, path, task):
    found = await verbose(client, path)
    assert found["segments"] == [{"id": 0, "start": 0.0, "end": 2.0, "text": TEXT}]
    assert (found["duration"], found["language"], found["task"]) == (2.0, "english", task)
    assert "words" not in found and "speaker_segments" not in found
    for fields in (
        {"timestamp_granularities": "word"},
        {"timestamp_granularities": "segment,word"},
        {"timestamp_granularities": ["word", "segment"]},
        {"timestamp_granularities[]": ["segment", "word"]},
        {"timestamp_granularities[0]": "segment", "timestamp_granularities[1]": "word"},
    ):
        found = await verbose(client, path, **fields)
        assert found["words"][1] == {"word": "of", "start": 0.5, "end": 1.0}
        assert found["segments"]


async def test_openais_formats(client):
    assert (await heard(client, response_format="text")).text == TEXT + "\n"
    subrip = (await heard(client, response_format="srt")).text
    assert subrip == f"1\n00:00:00,000 --> 00:00:02,000\n{TEXT}\n"
    assert (
        await heard(client, response_format="vtt")
    ).text == f"WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{TEXT}\n"
    events = sse_of(await heard(client, stream="true"))
    assert [it["type"] for it in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1]["text"] == TEXT


@pytest.mark.parametrize("code", ["de", "deu", "ger", "DE", "de-AT", "de_Latn_DE"])
async def test_a_language_is_known_by_each_of_its_codes(client, code):
    assert (await verbose(client, language=code))["language"] == "german"


async def test_languages(client):
    assert (await verbose(client, language="auto"))["language"] == "english"
    assert (await verbose(client, TRANSLATE, language="en"))["task"] == "translate"
    refused = await client.post(
        TRANSLATE, files={"file": FILE}, data={"model": LISTENER.name, "language": "fr"}
    )
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "language")


@pytest.mark.parametrize("given", ["true", "True", "1"])
async def test_diarisation_says_who_spoke_each_word(client, given):
    found = await verbose(client, diarize=given, max_speakers="2")
    assert {it["speaker_id"] for it in found["words"]} == {"SPEAKER_00", "SPEAKER_01"}
    assert found["speaker_segments"][1]["words"] == [found["words"][1]]
    assert {"id", "speaker_id", "start", "end", "text", "words"} == set(found["speaker_segments"][0])
    assert "words" in (await heard(client, diarize="true")).json()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "xml"}, "response_format"),
        ({"temperature": "2"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"timestamp_granularities": "letter"}, "timestamp_granularities"),
        ({"timestamp_granularities": ["word", "letter"]}, "timestamp_granularities"),
        ({"timestamp_granularities": ["word"] * 4000}, "timestamp_granularities"),
        ({"min_speakers": "3", "max_speakers": "2"}, "max_speakers"),
        ({"max_speakers": "0"}, "max_speakers"),
        ({"diarize": "maybe"}, "diarize"),
        ({"language": "no language at all"}, "language"),
        ({"model": "test/chat"}, "model"),
    ],
)
async def test_what_is_wrong_is_a_400_that_names_the_field(client, fields, param):
    answer = await client.post(TRANSCRIBE, files={"file": FILE}, data={"model": LISTENER.name, **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].split(".")[0] == param


@pytest.mark.parametrize(("path", "other"), [(TRANSCRIBE, ", or 'auto'"), (TRANSLATE, "")])
@pytest.mark.parametrize("language", ["english", "en-"])
async def test_an_unreadable_language_is_told_what_one_is(client, path, other, language):
    data = {"model": LISTENER.name, "language": language}
    error = (await client.post(path, files={"file": FILE}, data=data)).json()["error"]
    expected = f"a code of ISO 639 or BCP 47 such as `en`, `eng` or `pt-BR`{other}"
    assert error["message"] == f"`language` should be {expected}."


async def test_bodies_that_are_none(client):
    data = {"model": LISTENER.name}
    empty = await client.post(TRANSCRIBE, files={"file": ("a.wav", b"")}, data=data)
    none = await client.post(TRANSCRIBE, files={"other": (None, "x")}, data=data)
    assert (empty.status_code, none.status_code) == (400, 400)
    cut = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x\r\n", b"--x\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\nabc"):
        assert (await client.post(TRANSCRIBE, content=body, headers=cut)).status_code == 400
    assert (await client.post(TRANSCRIBE, content=b"abc")).status_code == 400
    assert (await client.post(TRANSCRIBE, json={"model": LISTENER.name})).json()["error"]["param"] == "file"
    assert (await client.post(TRANSCRIBE, json={"file": 1})).status_code == 400
    assert (await client.post(TRANSCRIBE, json=[])).status_code == 400


async def test_a_recording_that_is_too_large_is_a_413(client):
    answer = await client.post(
        TRANSCRIBE, files={"file": ("a.wav", b"x" * 100_001)}, data={"model": LISTENER.name}
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "file")


@pytest.mark.parametrize(
    "named", ["http://127.0.0.1/a.wav", "http://localhost:1/a.wav", "file:///etc/passwd", "not a url"]
)
async def test_only_public_urls_are_fetched(client, named):
    for sent in (
        {"files": {"file": (None, named)}, "data": {"model": LISTENER.name}},
        {"json": {"file": named, "model": LISTENER.name}},
    ):
        answer = await client.post(TRANSCRIBE, **sent)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


async def test_an_error_of_the_engine_is_ours(client):
    answer = await client.post(
        TRANSCRIBE, files={"file": FILE}, data={"model": LISTENER.name, "prompt": "[[error 400]]"}
    )
    assert answer.status_code == 400
    answer = await client.post(
        TRANSCRIBE, files={"file": FILE}, data={"model": LISTENER.name, "prompt": "[[error 503]]"}
    )
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")


async def test_nothing_is_left_of_a_recording(client, engine: Running, tmp_path_factory):
    await heard(client)
    folders = list(Path(tmp_path_factory.getbasetemp()).glob("data*/audio"))
    asked = {"model": LISTENER.name, "prompt": "[[sleep 60]] on"}
    request = asyncio.create_task(client.post(TRANSCRIBE, files={"file": FILE}, data=asked))
    await until_telling(engine, busy=1)
    assert any(list(folder.iterdir()) for folder in folders)
    request.cancel()
    await until(lambda: not any(list(folder.iterdir()) for folder in folders))
