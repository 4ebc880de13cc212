"""The results of an evaluation, counted from the rows of the result file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal

import msgspec

from tutti.features.evaluations.schemas import (
    AnyParameters,
    EvaluationClassifyParameters,
    EvaluationCompareParameters,
    EvaluationScoreParameters,
)

Whose = Literal["user", "server"]


class Problem(msgspec.Struct, frozen=True):
    """A problem of one row. `step`: `generation` failed, `judge` did not answer, or its `verdict` can't be
    read. If there are two of a step, it says which (`generation_a`, `judge_flipped`). `whose` says who can
    mend it."""

    step: str
    message: str
    whose: Whose


class Judged(msgspec.Struct, frozen=True):
    """The fields of a row of the result file that are counted; it has more."""

    evaluation_successful: bool
    errors: Sequence[Problem] = ()
    label: Any = None
    score: Any = None
    final_decision: Any = None


@dataclass
class Tally:
    """A sum over rows, which are added one by one: any number of them takes the same memory."""

    rows: int = 0
    successful: int = 0
    failed_generations: int = 0
    failed_judgements: int = 0
    invalid: int = 0
    first_problem: Problem | None = None
    ours: bool = False
    """True if there was a problem that the client can't mend."""
    values: dict[str, int] = field(default_factory=dict[str, int])
    """How often each label or decision was given."""
    passed: int = 0
    _mean: float = 0.0
    _squares: float = 0.0

    def add(self, row: Judged, parameters: AnyParameters) -> None:
        self.rows += 1
        for problem in row.errors:
            self._note(problem)
        if not row.evaluation_successful:
            return
        self.successful += 1
        if isinstance(parameters, EvaluationScoreParameters):
            self._score(row.score, parameters.pass_threshold)
        elif isinstance(parameters, EvaluationClassifyParameters):
            self._count(row.label)
            self.passed += row.label in parameters.pass_labels
        else:
            self._count(row.final_decision)

    def results(self, parameters: AnyParameters) -> dict[str, Any]:
        """Return the results, without the id of the result file."""
        if isinstance(parameters, EvaluationClassifyParameters):
            return self._classified(parameters.labels)
        return self._compared() if isinstance(parameters, EvaluationCompareParameters) else self._scored()

    def _note(self, problem: Problem) -> None:
        self.first_problem = self.first_problem or problem
        self.ours = self.ours or problem.whose == "server"
        if problem.step.startswith("generation"):
            self.failed_generations += 1
        elif problem.step.startswith("judge"):
            self.failed_judgements += 1
        else:
            self.invalid += 1

    def _count(self, value: str) -> None:
        self.values[value] = self.values.get(value, 0) + 1

    def _score(self, score: float, threshold: float) -> None:
        """Add a score by Welford's method, which is exact enough for any number of rows."""
        before = score - self._mean
        self._mean += before / self.successful
        self._squares += before * (score - self._mean)
        self.passed += score >= threshold

    def _pass_percentage(self) -> float | None:
        return round(100 * self.passed / self.successful, 2) if self.successful else None

    def _classified(self, labels: Iterable[str]) -> dict[str, Any]:
        counts: Mapping[str, int] = {label: self.values.get(label, 0) for label in labels}
        return {
            "generation_fail_count": self.failed_generations,
            "judge_fail_count": self.failed_judgements,
            "invalid_label_count": self.invalid,
            "pass_percentage": self._pass_percentage(),
            "label_counts": json.dumps(counts, ensure_ascii=False),
        }

    def _scored(self) -> dict[str, Any]:
        known = self.successful > 0
        return {
            "aggregated_scores": {
                "mean_score": self._mean if known else None,
                "std_score": sqrt(self._squares / self.successful) if known else None,
                "pass_percentage": self._pass_percentage(),
            },
            "generation_fail_count": self.failed_generations,
            "judge_fail_count": self.failed_judgements,
            "invalid_score_count": self.invalid,
            "failed_samples": self.rows - self.successful,
        }

    def _compared(self) -> dict[str, Any]:
        return {
            "num_samples": self.successful,
            "A_wins": self.values.get("A", 0),
            "B_wins": self.values.get("B", 0),
            "Ties": self.values.get("Tie", 0),
            "generation_fail_count": self.failed_generations,
            "judge_fail_count": self.failed_judgements + self.invalid,
        }
