"""A real server with the echo engine, against whatever its own OpenAPI document allows and forbids."""

from collections.abc import Iterator

import pytest
import requests
import schemathesis
from docs.gaps import served_operations
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.support.budget import examples
from tests.support.patience import limit
from tests.support.server import ECHO, running_server

from tutti.base.model import Model
from tutti.http.errors import ErrorData
from tutti.parts.features import CHANNELS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
MODELS = {
    "/chat/completions": ECHO,
    "/completions": ECHO,
    "/embeddings": Model(name="embed", type="embedding", engine="echo"),
    "/rerank": Model(name="rank", type="rerank", engine="echo"),
    "/audio/speech": Model(name="speech", type="audio", engine="echo", voices=("heart",)),
    "/audio/transcriptions": Model(name="whisper", type="transcribe", engine="echo"),
    "/audio/translations": Model(name="whisper", type="transcribe", engine="echo"),
}
CHUNKS = {channel.path: TypeAdapter(channel.chunk | ErrorData) for channel in CHANNELS}
OPERATIONS = sorted(served_operations())


@pytest.fixture(scope="module")
def document() -> Iterator[schemathesis.BaseSchema]:
    models = {it.name: it for it in MODELS.values()}
    limits = {"early_headers_s": 1, "max_speech_chars": 500, "interpreter_time_s": 1}
    with running_server(list(models.values()), interpreter=True, **limits) as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_every_operation_is_fuzzed(document):
    """But for one that is not under /v1, which schemathesis cannot be told."""
    names = [operation.ok().label for operation in document.get_all_operations()]
    assert sorted(names) == sorted([*OPERATIONS, "GET /v3/whoami"])
    assert len(OPERATIONS) >= 45


def check_stream(path: str, text: str) -> None:
    """schemathesis takes the data of an event for text; the contract describes what is in it."""
    *events, done = [event for event in text.split("\n\n") if event and not event.startswith(":")]
    assert done == "data: [DONE]"
    for event in events:
        CHUNKS[path].validate_json(event.removeprefix("data: "), strict=True)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_fails_and_every_body_is_as_described(document, name, mode):
    operation = document.find_operation_by_label(name)
    few = 15 if operation.path in MODELS and "audio" not in name else 5
    phases = [Phase.explicit, Phase.generate]

    @settings(
        max_examples=examples(few), deadline=None, phases=phases, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode), streamed=st.booleans())
    def check(case: schemathesis.Case, streamed: bool) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            case.body["model"] = MODELS[case.path].name  # every other model is a 404
            if case.path in CHUNKS and streamed:
                case.body["stream"] = True
        # Not by schemathesis, which reads the first events of a stream only.
        asked = case.as_transport_kwargs(headers={"authorization": "Bearer any"})
        response = requests.request(**asked, timeout=limit(100))
        if isinstance(case.body, dict) and case.body.get("stream_format") == "sse":
            assert response.status_code < 500  # openai's events, of which the contract knows nothing
        elif response.headers["content-type"].startswith("text/event-stream"):
            check_stream(case.path, response.content.decode())
        else:
            case.validate_response(response, checks=CHECKS)

    check()
