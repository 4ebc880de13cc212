"""One line of a batch's input file."""

import msgspec
import pytest

from tutti.features.batches.lines import InvalidLine, Line, read_line

CHAT = "/v1/chat/completions"


def read(text: str) -> Line:
    return read_line(text.encode(), CHAT)


def test_together_needs_an_id_and_a_body_only() -> None:
    line = read('{"custom_id": "a", "body": {"model": "m", "max_tokens": 3}}')
    assert line == Line("a", b'{"model": "m", "max_tokens": 3}', "m", streams=False)


def test_openai_says_method_and_url_besides() -> None:
    line = read(f'{{"custom_id": "a", "method": "POST", "url": "{CHAT}", "body": {{}}, "more": 1}}')
    assert line.custom_id == "a"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_json"),
        ('"text"', "invalid_json"),
        ('{"custom_id": "a", "body": {"a": NaN}}', "invalid_json"),
        ('{"custom_id": "\xff', "invalid_json"),
        ('{"body": {}}', "invalid_custom_id"),
        ('{"custom_id": "", "body": {}}', "invalid_custom_id"),
        ('{"custom_id": 7, "body": {}}', "invalid_custom_id"),
        (f'{{"custom_id": "{"x" * 513}", "body": {{}}}}', "invalid_custom_id"),
        ('{"custom_id": "a"}', "missing_body"),
        ('{"custom_id": "a", "body": null}', "missing_body"),
        ('{"custom_id": "a", "body": []}', "invalid_json"),
        ('{"custom_id": "a", "body": "text"}', "invalid_json"),
        ('{"custom_id": "a", "method": "GET", "body": {}}', "invalid_method"),
        ('{"custom_id": "a", "url": "/v1/embeddings", "body": {}}', "invalid_url"),
        ("[" * 100_000, "invalid_json"),
    ],
)
def test_what_is_wrong_is_named(text: str, code: str) -> None:
    with pytest.raises(InvalidLine) as error:
        read_line(text.encode("latin-1"), CHAT)
    assert error.value.code == code


@pytest.mark.parametrize("body", ["{}", "{ }", '{"n": 1}', '{ "n": 1 }', '{"model": null}'])
def test_a_model_is_put_into_a_body_without_one(body: str) -> None:
    line = read(f'{{"custom_id": "a", "body": {body}}}')
    changed = msgspec.json.decode(line.body_for('the "model"'))
    assert {**msgspec.json.decode(body), **changed} == changed or body == '{"model": null}'
    assert line.body_for("") == line.body


def test_a_body_keeps_its_own_model() -> None:
    line = read('{"custom_id": "a", "body": {"model": "mine"}}')
    assert line.body_for("other") == b'{"model": "mine"}'


def test_streaming_is_noticed() -> None:
    assert read('{"custom_id": "a", "body": {"stream": true}}').streams
    assert not read('{"custom_id": "a", "body": {"stream": false}}').streams
