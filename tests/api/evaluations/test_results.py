"""Results against numbers that were counted by hand. The judge is the echo engine, told by `[[this]]` what to
answer."""

import json
from math import sqrt
from typing import Any

import pytest
from tests.api.evaluations.conftest import Client, judge, writer

pytestmark = pytest.mark.asyncio(loop_scope="module")


def said(**answer: Any) -> str:
    """Makes the judge say this, whatever it may."""
    return f"[[say {json.dumps(answer)}]]"


async def test_labels(working: str, client: Client) -> None:
    answers = [f"{label} [[this]]" for label in ("good", "bad", "good", "good", "so-so")]
    answers += [said(label="none of them"), "[[say what?]]", "[[error 400]]"]
    done = await client.evaluate(
        "classify",
        [{"q": number, "answer": answer} for number, answer in enumerate(answers)],
        labels=["good", "bad", "so-so"],
        pass_labels=["good", "so-so"],
        model_to_evaluate="answer",
    )
    assert done["status"] == "completed"
    results = dict(done["results"])
    assert results.pop("result_file_id").startswith("file-")
    assert json.loads(results.pop("label_counts")) == {"good": 3, "bad": 1, "so-so": 1}
    assert results == {
        "generation_fail_count": 0,
        "judge_fail_count": 1,
        "invalid_label_count": 2,
        "pass_percentage": 80.0,
    }
    lines = await client.lines(done)
    assert [line["q"] for line in lines] == list(range(8))
    assert [line["label"] for line in lines] == ["good", "bad", "good", "good", "so-so", None, None, None]
    assert [line["evaluation_successful"] for line in lines] == [True] * 5 + [False] * 3
    assert [line["is_invalid_judge_output"] for line in lines] == [False] * 5 + [True] * 2 + [False]
    assert json.loads(lines[0]["judge_raw_output"])["label"] == "good" and lines[0]["judge_feedback"]
    assert [lines[6]["judge_raw_output"], lines[7]["judge_raw_output"]] == ["what?", None]
    assert [line["errors"][0]["step"] for line in lines[5:]] == ["verdict", "verdict", "judge"]
    assert lines[7]["errors"][0]["message"].startswith("Row 8: The model answered 400")


async def test_scores_of_what_a_model_wrote(working: str, client: Client) -> None:
    rows = "text,note\n" + "".join(f"{score} [[this]],n\n" for score in (2, 4, 4, 4, 5, 5, 7, 9, 11))
    rows += "[[error 400]],n\n"
    done = await client.evaluate("score", rows, model_to_evaluate=writer())
    assert done["status"] == "completed", done
    results = dict(done["results"])
    del results["result_file_id"]
    assert results == {
        "aggregated_scores": {"mean_score": 5.0, "std_score": 2.0, "pass_percentage": 50.0},
        "generation_fail_count": 1,
        "judge_fail_count": 0,
        "invalid_score_count": 1,
        "failed_samples": 2,
    }
    lines = await client.lines(done)
    assert lines[0]["MODEL_TO_EVALUATE_OUTPUT"] == lines[0]["text"] == "2 [[this]]"
    assert [line.get("score") for line in lines[:9]] == [2, 4, 4, 4, 5, 5, 7, 9, None]
    assert "score" not in lines[9] and lines[9]["errors"][0]["step"] == "generation"


async def test_a_comparison_counts_wins_that_both_orders_confirm(working: str, client: Client) -> None:
    """`[[this]]` stands in the better response, so the judge says its letter, wherever it is shown."""
    rows = [
        {"a": "[[this]] yes", "b": "no"},
        {"a": "no", "b": "[[this]] yes"},
        {"a": "no", "b": "[[this]] yes", "label": "kept"},
        {"a": said(choice="A", feedback="the first"), "b": "x"},
        {"a": said(choice="Tie"), "b": "x"},
        {"a": said(choice="C"), "b": "x"},
        {"a": "x"},
    ]
    done = await client.evaluate("compare", rows)
    assert done["status"] == "completed", done
    results = dict(done["results"])
    del results["result_file_id"]
    assert results == {
        "num_samples": 5,
        "A_wins": 1,
        "B_wins": 2,
        "Ties": 2,
        "generation_fail_count": 1,
        "judge_fail_count": 2,
    }
    lines = await client.lines(done)
    assert [line.get("final_decision") for line in lines] == ["A", "B", "B", "Tie", "Tie", None, None]
    assert (lines[3]["choice_original"], lines[3]["choice_flipped"]) == ("A", "B")
    assert (
        lines[3]["judge_feedback_original_order"] == lines[3]["judge_feedback_flipped_order"] == "the first"
    )
    assert lines[2]["label"] == "kept"
    assert lines[6]["errors"][0]["message"] == "Row 7 has no field `b`; it has `a`."


async def test_one_order_is_enough_where_it_is_asked_for(working: str, client: Client) -> None:
    rows = [{"a": said(choice="A"), "b": "x"}]
    done = await client.evaluate("compare", rows, disable_position_bias_correction=True)
    assert done["results"]["A_wins"] == 1
    (line,) = await client.lines(done)
    assert not [name for name in line if "flipped" in name]


async def test_two_models_are_compared(working: str, client: Client) -> None:
    rows = [{"text": "same"}, {"text": "other"}]
    models = {
        "model_a": writer(input_template="{{ text }} [[this]]"),
        "model_b": writer(input_template="{{ text }}{% if text == 'other' %}[[error 400]]{% endif %}"),
    }
    done = await client.evaluate("compare", rows, **models)
    assert [done["results"][name] for name in ("A_wins", "generation_fail_count", "num_samples")] == [1, 1, 1]
    first, second = await client.lines(done)
    assert (first["MODEL_TO_EVALUATE_OUTPUT_A"], first["MODEL_TO_EVALUATE_OUTPUT_B"]) == (
        "same [[this]]",
        "same",
    )
    assert "MODEL_TO_EVALUATE_OUTPUT_A" in second and "MODEL_TO_EVALUATE_OUTPUT_B" not in second


async def test_the_row_itself_is_judged_where_there_is_no_model(working: str, client: Client) -> None:
    rows = [{"text": "good [[this]]"}, {"text": "bad [[this]]"}]
    done = await client.evaluate("classify", rows)
    assert done["results"]["pass_percentage"] == 50.0


async def test_a_field_of_the_row_is_kept_beside_the_result_of_its_name(working: str, client: Client) -> None:
    done = await client.evaluate("classify", [{"text": "bad [[this]]", "label": "good", "errors": 3}])
    (line,) = await client.lines(done)
    assert (line["input_label"], line["label"], line["input_errors"], line["errors"]) == (
        "good",
        "bad",
        3,
        [],
    )


async def test_the_judges_settings_are_honoured(working: str, client: Client) -> None:
    """The echo engine says how long an answer may be: too few tokens cut the object off."""
    rows = [{"text": "good [[this]] " + "word " * 50}]
    cut = await client.evaluate("classify", rows, judge=judge(max_tokens=3))
    assert cut["status"] == "error" and "no answer in it" in cut["results"]["error"]
    whole = await client.evaluate(
        "classify", rows, judge=judge(max_tokens=30_000, temperature=1, num_workers=1)
    )
    assert whole["results"]["pass_percentage"] == 100.0


async def test_more_rows_than_fit_into_a_chunk_stay_in_order(working: str, client: Client) -> None:
    rows = [{"n": n, "text": f"{'[[sleep 0.05]]' * (n % 7 == 0)} {n % 11} [[this]]"} for n in range(300)]
    done = await client.evaluate("score", rows, model_to_evaluate="text", judge=judge(num_workers=20))
    scores = [n % 11 for n in range(300)]
    mean = sum(scores) / 300
    found = done["results"]["aggregated_scores"]
    assert found["mean_score"] == pytest.approx(mean)
    assert found["std_score"] == pytest.approx(sqrt(sum((it - mean) ** 2 for it in scores) / 300))
    assert found["pass_percentage"] == round(100 * sum(it >= 5 for it in scores) / 300, 2)
    assert [line["n"] for line in await client.lines(done)] == list(range(300))
