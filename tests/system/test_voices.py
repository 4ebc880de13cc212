"""Speech through a whole server, with a real voice."""

import base64
import io
import json
import wave
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.server import Server, running_server

MODEL = "maureesewilliams/hibari"
TEXT = "A voice that comes with the package. It needs no hub."


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([MODEL], lent=()) as running:
        yield running


def speech(server: Server, **fields: Any) -> Any:
    return server.client.post(
        "/v1/audio/speech", json={"model": MODEL, "input": TEXT, "voice": "heart", **fields}
    )


def test_the_voice_is_listed(server: Server) -> None:
    answer = server.client.get("/v1/voices", params={"model": MODEL}).json()
    assert answer == {"data": [{"model": MODEL, "voices": [{"id": "heart", "name": "heart"}]}]}


def test_it_speaks_and_streams_the_same(server: Server) -> None:
    answer = speech(server)
    assert answer.status_code == 200, answer.text
    with wave.open(io.BytesIO(answer.content)) as file:
        spoken = file.readframes(file.getnframes())
    events = speech(server, stream=True).text.split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: {")]
    assert b"".join(base64.b64decode(chunk["b64"]) for chunk in chunks) == spoken
    assert events[-2:] == ["data: [DONE]", ""]


def test_a_voice_that_it_does_not_have_is_the_callers_mistake(server: Server) -> None:
    answer = speech(server, voice="tara")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "voice"
    assert "heart" in answer.json()["error"]["message"]
