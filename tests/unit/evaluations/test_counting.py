"""From rows to results, against numbers counted by hand."""

import json
from math import sqrt
from typing import Any

import pytest

from tutti.features.evaluations.counting import Judged, Problem, Tally
from tutti.features.evaluations.schemas import (
    AnyParameters,
    EvaluationClassifyParameters,
    EvaluationCompareParameters,
    EvaluationScoreParameters,
)

JUDGE = {"model": "m", "model_source": "serverless", "system_template": "s"}
COMMON: dict[str, Any] = {"judge": JUDGE, "input_data_file_path": "f"}
CLASSIFY = EvaluationClassifyParameters(**COMMON, labels=["a", "b", "ü"], pass_labels=["a", "ü"])
SCORE = EvaluationScoreParameters(**COMMON, min_score=0, max_score=10, pass_threshold=5)
COMPARE = EvaluationCompareParameters(**COMMON, model_a="a", model_b="b")


def tally(parameters: AnyParameters, rows: list[Judged]) -> Tally:
    counted = Tally()
    for row in rows:
        counted.add(row, parameters)
    return counted


def failed(*steps: str, whose: Any = "server") -> Judged:
    return Judged(False, [Problem(step, f"{step} failed", whose) for step in steps])


def test_labels() -> None:
    rows = [Judged(True, label=label) for label in ("a", "b", "a", "ü", "b", "b")]
    rows += [failed("generation"), failed("judge"), failed("verdict"), failed("verdict")]
    results = tally(CLASSIFY, rows).results(CLASSIFY)
    assert json.loads(results.pop("label_counts")) == {"a": 2, "b": 3, "ü": 1}
    assert results == {
        "generation_fail_count": 1,
        "judge_fail_count": 1,
        "invalid_label_count": 2,
        "pass_percentage": 50.0,
    }


def test_scores() -> None:
    rows = [Judged(True, score=score) for score in (2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0)]
    rows += [failed("generation"), failed("verdict"), failed("judge")]
    results = tally(SCORE, rows).results(SCORE)
    assert results == {
        "aggregated_scores": {"mean_score": 5.0, "std_score": 2.0, "pass_percentage": 50.0},
        "generation_fail_count": 1,
        "judge_fail_count": 1,
        "invalid_score_count": 1,
        "failed_samples": 3,
    }


def test_the_sums_do_not_drift() -> None:
    counted = tally(SCORE, [Judged(True, score=9.0 + 1e-6 * (number % 2)) for number in range(10_000)])
    scores = counted.results(SCORE)["aggregated_scores"]
    assert scores["mean_score"] == pytest.approx(9 + 5e-7, abs=1e-12)
    assert scores["std_score"] == pytest.approx(5e-7, rel=1e-6)


def test_one_score_deviates_by_nothing() -> None:
    assert tally(SCORE, [Judged(True, score=3.0)]).results(SCORE)["aggregated_scores"]["std_score"] == 0
    two = tally(SCORE, [Judged(True, score=1.0), Judged(True, score=2.0)]).results(SCORE)
    assert two["aggregated_scores"]["std_score"] == sqrt(0.25)


def test_choices() -> None:
    rows = [Judged(True, final_decision=choice) for choice in ("A", "B", "Tie", "B", "Tie", "Tie")]
    rows += [failed("generation_a", "generation_b"), failed("judge"), failed("judge", "verdict_flipped")]
    assert tally(COMPARE, rows).results(COMPARE) == {
        "num_samples": 6,
        "A_wins": 1,
        "B_wins": 2,
        "Ties": 3,
        "generation_fail_count": 2,
        "judge_fail_count": 3,
    }


@pytest.mark.parametrize("parameters", [CLASSIFY, SCORE, COMPARE])
def test_of_nothing_there_are_no_averages(parameters: AnyParameters) -> None:
    results = tally(parameters, []).results(parameters)
    percentage = results.get("aggregated_scores", results).get("pass_percentage")
    assert percentage is None


def test_whose_fault_it_was() -> None:
    assert not tally(SCORE, [failed("generation", whose="user")]).ours
    mixed = tally(SCORE, [failed("generation", whose="user"), failed("judge")])
    assert mixed.ours and mixed.first_problem and mixed.first_problem.message == "generation failed"
