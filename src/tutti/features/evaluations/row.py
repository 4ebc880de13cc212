"""The evaluation of one row: its responses are made or found, and judged, and a line of the result file is
made."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tutti.features.evaluations.checks import Subject
from tutti.features.evaluations.counting import Problem
from tutti.features.evaluations.judging import (
    Question,
    Verdict,
    agreed,
    messages,
    response_format,
    swapped,
    verdict,
)
from tutti.features.evaluations.rows import Row, named
from tutti.features.evaluations.schemas import EvaluationModelRequest
from tutti.features.evaluations.templates import Renderer, TemplateFailed
from tutti.features.evaluations.voices import NotSaid, Voice
from tutti.features.files.jsonl import one_line
from tutti.jobs.errors import Failed

Json = dict[str, Any]


class UserError(Failed):
    """The evaluation cannot go on, and its owner can mend it."""


@dataclass(frozen=True)
class Plan:
    """The steps that every row goes through."""

    question: Question
    subjects: Sequence[Subject]
    judge_template: str
    judge: Voice
    models: Mapping[str, Voice]
    """The models that write responses, by the name of their subject."""
    both_orders: bool
    renderer: Renderer


@dataclass
class _Row:
    number: int
    fields: Row
    output: Json = field(default_factory=dict[str, Any])
    problems: list[Problem] = field(default_factory=list[Problem])
    hopeless: str = ""
    """The reason why all other rows will fail too, if there is one."""

    def failed(self, step: str, error: NotSaid | TemplateFailed) -> None:
        if isinstance(error, TemplateFailed):
            message = f"Row {self.number}: `{error.template}`: {error.reason.rstrip('.')}."
            self.problems.append(Problem(step, message, "user"))
            return
        self.problems.append(Problem(step, f"Row {self.number}: {error.message}", error.whose))
        if error.hopeless:
            self.hopeless = error.message


async def evaluated(plan: Plan, number: int, fields: Row) -> bytes:
    """Evaluate a row, and return its line of the result file. Rows are numbered from 1. Raise UserError if
    all others will fail too."""
    row = _Row(number, fields)
    responses = await asyncio.gather(*(_response(plan, row, subject) for subject in plan.subjects))
    made = [response for response in responses if response is not None]
    successful = len(made) == len(plan.subjects) and await _judge(plan, row, made)
    if row.hopeless:
        raise UserError(row.hopeless)
    row.output["evaluation_successful"] = successful
    row.output["is_invalid_judge_output"] = any(
        problem.step.startswith("verdict") for problem in row.problems
    )
    row.output["errors"] = row.problems
    return one_line(msgspec.json.encode({**_kept(row), **row.output}))


async def _response(plan: Plan, row: _Row, subject: Subject) -> str | None:
    name, what = subject
    step = "generation" + _letter(name)
    if isinstance(what, str):
        return _found(row, what, step)
    try:
        response = await _written(plan, row, name, what)
    except (NotSaid, TemplateFailed) as error:
        row.failed(step, error)
        return None
    row.output["MODEL_TO_EVALUATE_OUTPUT" + _letter(name).upper()] = response
    return response


def _found(row: _Row, name: str, step: str) -> str | None:
    value = row.fields.get(name)
    if value is None:
        message = f"Row {row.number} has no field `{name[:80]}`; it has {named(row.fields)}."
        row.problems.append(Problem(step, message, "user"))
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


async def _written(plan: Plan, row: _Row, name: str, what: EvaluationModelRequest) -> str:
    system, user = f"{name}.system_template", f"{name}.input_template"
    templates = {system: what.system_template, user: what.input_template}
    texts = await plan.renderer.render(templates, row.fields)
    prompt: list[Json] = [{"role": "user", "content": texts[user]}]
    if texts[system].strip():
        prompt = [{"role": "system", "content": texts[system]}, *prompt]
    return await plan.models[name].say(prompt)


async def _judge(plan: Plan, row: _Row, responses: Sequence[str]) -> bool:
    """Have the responses judged. Return True if there is an answer that counts."""
    name = "judge.system_template"
    try:
        system = (await plan.renderer.render({name: plan.judge_template}, row.fields))[name]
    except TemplateFailed as error:
        row.failed("judge", error)
        return False
    if len(responses) == 2:
        return await _compare(plan, row, system, responses)
    given = await _asked(plan, row, system, responses, "", row.output, "judge_raw_output")
    row.output[plan.question.key] = given.value
    row.output["judge_feedback"] = given.feedback
    return given.value is not None


async def _compare(plan: Plan, row: _Row, system: str, responses: Sequence[str]) -> bool:
    orders = [("original", "", responses)]
    if plan.both_orders:
        orders.append(("flipped", "_flipped", responses[::-1]))
    verdicts = await asyncio.gather(
        *(
            _asked(plan, row, system, shown, step, row.output, f"judge_raw_output_{order}")
            for order, step, shown in orders
        )
    )
    choices = [str(verdicts[0].value or ""), *(swapped(it.value) or "" for it in verdicts[1:])]
    for (order, _, _), given, choice in zip(orders, verdicts, choices, strict=True):
        row.output[f"choice_{order}"] = choice or None
        row.output[f"judge_feedback_{order}_order"] = given.feedback
    row.output["final_decision"] = agreed(choices[0], choices[-1]) if all(choices) else None
    return all(choices)


async def _asked(
    plan: Plan, row: _Row, system: str, responses: Sequence[str], step: str, output: Json, raw: str
) -> Verdict:
    shown = messages(plan.question, system, _beside(plan, row.fields), responses)
    output[raw] = None
    try:
        text = await plan.judge.say(shown, response_format(plan.question))
    except NotSaid as error:
        row.failed("judge" + step, error)
        return Verdict(None)
    output[raw] = text
    given = verdict(plan.question, text)
    if given.problem:
        why = "has no answer in it" if given.problem == "unparsable" else "is not one of those allowed"
        message = f"Row {row.number}: the judge's `{plan.question.key}` {why}."
        row.problems.append(Problem("verdict" + step, message, "server"))
    return given


def _beside(plan: Plan, fields: Row) -> Row:
    """Return the row without the fields that are shown as responses."""
    shown = {what for _, what in plan.subjects if isinstance(what, str)}
    return {name: value for name, value in fields.items() if name not in shown}


def _kept(row: _Row) -> Row:
    """Return the row's own fields. One whose name the result has too becomes `input_...`."""
    taken = row.output.keys()
    return {(f"input_{name}" if name in taken else name): value for name, value in row.fields.items()}


def _letter(name: str) -> str:
    return {"model_a": "_a", "model_b": "_b"}.get(name, "")
