"""Reading what judges say, and what is asked of them."""

import json
from typing import Any

import pytest

from tutti.features.evaluations.judging import (
    Classify,
    Compare,
    Question,
    Score,
    agreed,
    messages,
    response_format,
    swapped,
    verdict,
)

LABELS = Classify(("good", "bad", "Bad one"))
SCORE = Score(0, 10)
COMPARE = Compare()


@pytest.mark.parametrize(
    ("asked", "text", "value"),
    [
        (LABELS, '{"feedback": "f", "label": "good"}', "good"),
        (LABELS, '```json\n{"feedback": "f", "label": "bad"}\n```', "bad"),
        (LABELS, 'I think {this}: {"feedback": "f", "label": "Good"} fits.', "good"),
        (LABELS, '<think>{"label": "bad"}</think>{"feedback": "f", "label": "good"}', "good"),
        (LABELS, '{"label": "bad"} no, wait: {"feedback": "f", "label": "good"}', "good"),
        (LABELS, '{"feedback": {"not": "text"}, "label": "good"}', "good"),
        (LABELS, ' "Bad One." ', "Bad one"),
        (SCORE, '{"feedback": "", "score": 7.5}', 7.5),
        (SCORE, '{"feedback": "", "score": "7"}', 7.0),
        (SCORE, "7", 7.0),
        (SCORE, '{"score": 0}', 0.0),
        (COMPARE, '{"feedback": "", "choice": "tie"}', "Tie"),
        (COMPARE, "A", "A"),
    ],
)
def test_an_answer_is_found_wherever_it_stands(asked: Question, text: str, value: Any) -> None:
    found = verdict(asked, text)
    assert (found.value, found.problem) == (value, "")


@pytest.mark.parametrize(
    ("asked", "text", "problem"),
    [
        (LABELS, "", "unparsable"),
        (LABELS, "good, but in places bad", "unparsable"),
        (LABELS, '{"verdict": "good"}', "unparsable"),
        (LABELS, '{"feedback": "f", "label": "go', "unparsable"),
        (LABELS, "{" * 100_000, "unparsable"),
        (LABELS, '{"label": "neutral"}', "invalid"),
        (LABELS, '{"label": null}', "invalid"),
        (LABELS, '{"label": ["good"]}', "invalid"),
        (SCORE, '{"score": 11}', "invalid"),
        (SCORE, '{"score": -0.1}', "invalid"),
        (SCORE, '{"score": true}', "invalid"),
        (SCORE, '{"score": NaN}', "invalid"),
        (SCORE, '{"score": 1e999}', "invalid"),
        (SCORE, '{"score": "high"}', "invalid"),
        (SCORE, "seven", "unparsable"),
        (COMPARE, '{"choice": "C"}', "invalid"),
    ],
)
def test_anything_else_is_no_answer(asked: Question, text: str, problem: str) -> None:
    found = verdict(asked, text)
    assert (found.value, found.problem) == (None, problem)


def test_feedback_is_always_text_that_can_be_written() -> None:
    assert verdict(LABELS, '{"feedback": "\\ud800", "label": "good"}').feedback == "?"
    assert verdict(LABELS, '{"feedback": 5, "label": "good"}').feedback == "5"


def test_labels_that_differ_by_case_only_must_be_said_exactly() -> None:
    asked = Classify(("yes", "YES"))
    assert verdict(asked, '{"label": "YES"}').value == "YES"
    assert verdict(asked, '{"label": "Yes"}').problem == "invalid"


@pytest.mark.parametrize(
    ("original", "shown_flipped", "decision"),
    [
        ("A", "B", "A"),
        ("B", "A", "B"),
        ("A", "A", "Tie"),
        ("B", "B", "Tie"),
        ("Tie", "A", "Tie"),
        ("A", "Tie", "Tie"),
        ("Tie", "Tie", "Tie"),
    ],
)
def test_a_win_counts_when_both_orders_say_so(original: str, shown_flipped: str, decision: str) -> None:
    assert agreed(original, swapped(shown_flipped) or "") == decision


def test_the_judge_sees_instructions_row_and_responses() -> None:
    system, user = messages(COMPARE, "Be strict.", {"q": "Wer?"}, ["first", "second"])
    assert system["content"].startswith("Be strict.\n\n") and '"A", "B" or "Tie"' in system["content"]
    assert user["content"].endswith(
        '[Input]\n{\n  "q": "Wer?"\n}\n\n[Response A]\nfirst\n\n[Response B]\nsecond'
    )
    (_, alone) = messages(LABELS, "", {"q": 1}, [])
    assert "[Response" not in alone["content"]
    (_, bare) = messages(LABELS, "", {}, ["only"])
    assert "[Input]" not in bare["content"] and bare["content"].endswith("[Response]\nonly")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (LABELS, {"type": "string", "enum": ["good", "bad", "Bad one"]}),
        (SCORE, {"type": "number", "minimum": 0, "maximum": 10}),
        (COMPARE, {"type": "string", "enum": ["A", "B", "Tie"]}),
    ],
)
def test_the_grammar_allows_the_answers_only(asked: Question, expected: dict[str, Any]) -> None:
    form = json.loads(json.dumps(response_format(asked)))
    schema = form["json_schema"]["schema"]
    assert schema["properties"][asked.key] == expected
    assert list(schema["properties"]) == schema["required"] == ["feedback", asked.key]
