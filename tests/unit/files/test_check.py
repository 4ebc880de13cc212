"""What the check of a file says, and what it costs."""

import json
import tracemalloc
from collections.abc import Iterable
from typing import Any

from tests.unit.files.cases import assistant, chat, image, lines, preference, text, user

from tutti.features.files.checks.file import Check, Row
from tutti.features.files.checks.report import MAX_ERRORS, LineError, Report, validation_report
from tutti.features.files.checks.samples import Uncountable, samples


def checked(data: bytes, purpose: str = "fine-tune") -> Report:
    check = Check(purpose, "jsonl")
    split = data.split(b"\n")
    for number, line in enumerate(split, 1):
        check.line(number, line)
        if check.full:
            break
    return check.end()


def error(*values: Any, purpose: str = "fine-tune") -> LineError:
    (found,) = checked(lines(*values), purpose).errors
    return found


def request(custom_id: Any = "a", **more: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "body": {"model": "m", "messages": []}, **more}


# --- errors -----------------------------------------------------------------------------------------------


def test_an_error_names_the_line_as_editors_count_it_and_the_field() -> None:
    (found,) = checked(lines({"text": "a"}) + b"\n\n" + lines({"text": 1})).errors
    assert (found.line, found.param, found.code) == (4, "text", "key_value")
    assert "must be a string or a list of parts, but it is a number" in found.message


def test_a_line_without_columns_is_told_which_there_are() -> None:
    assert error({}).message.startswith("The line has no columns. Formats and their columns: general: text;")
    assert error({"a": 1}).message.startswith("The line has no format's columns, but a. Formats")


def test_an_error_deep_inside_names_its_place_and_the_remedy() -> None:
    found = error(chat(user([text(), image("http://a/b.png")]), assistant([text()])))
    assert found.param == "messages[0].content[1].image_url.url"
    assert "embed the image" in found.message
    assert error(preference(preferred_output=[user()])).param == "preferred_output[0].role"


def test_every_wrong_line_is_told_up_to_a_limit() -> None:
    wrong = lines(*[{"text": 1}, {"text": "a"}] * 200)
    report = checked(wrong)
    assert [it.line for it in report.errors] == list(range(1, 2 * MAX_ERRORS, 2))
    assert report.summary().endswith("(49+ more errors)")


def test_what_stands_in_a_file_is_shown_in_messages_only_in_part() -> None:
    found = error(chat(user(), {"role": "x" * 5000, "content": ""}))
    assert len(found.message) < 300


def test_lines_nested_too_deeply_are_an_error_and_not_a_crash() -> None:
    assert [it.code for it in checked(b"[" * 100_000).errors] == ["load_json"]


# --- what was found ---------------------------------------------------------------------------------------


def test_the_report_is_that_of_the_api() -> None:
    told = validation_report(checked(lines(chat(user(), assistant(weight=1, reasoning="hm")))))
    assert told == {
        "valid": True,
        "nlines": 1,
        "dataset_format": "CONVERSATION",
        "dataset_has_tools": False,
        "dataset_has_parallel_tool_calls": False,
        "dataset_has_message_weights": True,
        "dataset_has_sample_weights": False,
        "dataset_has_reasoning": True,
        "dataset_is_multimodal": False,
        "token_counts": {},
    }


def test_the_report_of_a_wrong_file_has_the_first_error_in_words_and_all_of_them() -> None:
    told = validation_report(checked(lines({"text": 1}, {"text": "a"}, {"text": 2})))
    assert (told["valid"], told["error_type"], told["nlines"]) == (False, "INVALID_FORMAT", 3)
    assert told["error"].startswith("Line 1: `text` must be") and told["error"].endswith("(1 more errors)")
    assert [it["line"] for it in told["errors"]] == [1, 3]


def test_fields_of_an_eval_file_are_those_of_all_lines() -> None:
    report = checked(lines({"a": 1, "b": 2}, {"b": 1, "c": 2}, {"c": 3, "b": 1}), "eval")
    assert (report.sound, report.fields) == (True, ["b"])


def test_tokens_of_parquet_rows_are_added_up() -> None:
    check = Check("fine-tune", "parquet")
    for number, tokens in enumerate((3, 4), 1):
        check.row(Row(line=number, tokens=tokens))
    assert (check.end().tokens, check.end().lines) == ({"*": 7}, 2)


# --- batches ----------------------------------------------------------------------------------------------


def test_lines_of_a_batch_may_be_together_s_and_openai_s() -> None:
    sent = request("b", method="POST", url="/v1/embeddings", other=1)
    report = checked(lines(request(), sent, request("c", method=None, url=None)), "batch-api")
    assert (report.sound, report.format, report.lines) == (True, "batch", 3)


def test_what_is_wrong_with_a_line_of_a_batch_is_named() -> None:
    wrong = {
        "custom_id": [request(None), request(""), request(1), request("x" * 513), {"body": {}}],
        "method": [request(method="GET")],
        "url": [request(url="/v1/images/generations"), request(url=1)],
        "body": [{"custom_id": "a"}, request(body=[])],
        "body.model": [request(body={"model": 1}), request(body={"model": ""})],
    }
    for param, each in wrong.items():
        assert {error(value, purpose="batch-api").param for value in each} == {param}


def test_a_custom_id_used_again_is_told_with_both_lines() -> None:
    report = checked(lines(request("a"), request("b"), request("a"), request("a")), "batch-api")
    assert [(it.line, it.param) for it in report.errors] == [(3, "custom_id"), (4, "custom_id")]
    assert "that of line 1" in report.errors[0].message


def test_a_batch_of_many_lines_is_checked_in_flat_memory() -> None:
    def made(count: int) -> Iterable[bytes]:
        return (json.dumps(request(f"request-{number:060}")).encode() for number in range(count))

    check = Check("batch-api", "jsonl")
    tracemalloc.start()
    try:
        for number, line in enumerate(made(20_000), 1):
            check.line(number, line)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert check.end().sound
    assert peak < 1 << 20  # the ids alone are 7 MB


# --- what a model reads -----------------------------------------------------------------------------------


def test_a_prompt_and_its_completion_are_read_as_one_text() -> None:
    assert list(samples({"prompt": "a", "completion": [text("b"), text("c")]})) == [{"text": "abc"}]


def test_a_preference_is_read_with_each_of_its_outputs() -> None:
    read = [it["messages"] for it in samples(preference())]
    assert read == [[user(), assistant("yes")], [user(), assistant("no")]]


def test_images_are_not_counted() -> None:
    try:
        list(samples(chat(user([image()]), assistant([text()]))))
    except Uncountable as reason:
        assert "images" in str(reason)
    else:
        raise AssertionError
