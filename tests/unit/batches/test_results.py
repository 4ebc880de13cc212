"""Lines of the output and error files."""

import msgspec

from tutti.features.batches.gate import Gate
from tutti.features.batches.results import Error, Tokens, answered, tokens_of, unanswered
from tutti.http.inside import Answer


def answer(status: int, body: bytes) -> Answer:
    return Answer(status, {}, body, "req-1")


def test_a_success_has_a_response_and_no_error() -> None:
    line = answered("a", answer(200, b'{"choices":[]}'))
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    read = msgspec.json.decode(line)
    assert read.pop("id").startswith("batch_req-")
    assert read == {
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "req-1", "body": {"choices": []}},
        "error": None,
    }


def test_a_refusal_has_both() -> None:
    body = b'{"error":{"message":"No.","type":"invalid_request_error","param":"n","code":null}}'
    read = msgspec.json.decode(answered("a", answer(400, body)))
    assert read["response"]["status_code"] == 400
    assert read["response"]["body"]["error"]["message"] == "No."
    assert read["error"] == {"code": "invalid_request_error", "message": "No.", "param": "n"}


def test_what_never_ran_has_an_error_only() -> None:
    read = msgspec.json.decode(unanswered("a", Error("batch_expired", "Too late.")))
    assert read["response"] is None
    assert read["error"]["code"] == "batch_expired"


def test_tokens_are_those_of_the_answer() -> None:
    used = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
    assert tokens_of(answer(200, used)) == Tokens(3, 4)
    assert tokens_of(answer(200, b'{"usage":null}')) == Tokens()
    assert tokens_of(answer(200, b"[1]")) == Tokens()


async def test_after_making_way_fewer_run_until_there_were_successes() -> None:
    gate = Gate()
    await gate.resize(8)
    for _ in range(8):
        await gate.__aenter__()
    for _ in range(8):
        gate.made_way()
        await gate.__aexit__()
    assert gate.limit == 1
    for limit in range(2, 9):
        gate.succeeded()
        assert gate.limit == limit
    gate.succeeded()
    await gate.resize(20)
    assert gate.limit == 20
