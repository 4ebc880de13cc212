"""Reports of checks, in the shapes of the API and of `tutti files check`."""

from typing import Any

import msgspec

MAX_ERRORS = 50
MAX_FIELDS = 100
LONGEST_MESSAGE = 300
LONGEST_PARAM = 100
"""A report is part of a file's description, which stays small whatever is in the file."""

_TRAINING = ("general", "instruction", "conversation", "preference_openai")
_FACTS = ("tools", "parallel_tool_calls", "message_weights", "sample_weights", "reasoning", "multimodal")


class LineError(msgspec.Struct, frozen=True):
    """A mistake in a file. `line` counts from 1; 0: the file as a whole."""

    line: int
    message: str
    param: str | None = None
    code: str = ""


class Report(msgspec.Struct):
    """Results of a check. `lines` counts records, so neither empty lines nor a csv file's header; only up to
    the last error if there are MAX_ERRORS. `format` is that of training data, or batch, objects, tokens;
    empty if not known. `fields` are the first MAX_FIELDS of those that every line of an eval file has.
    `tokens` has the count under `*` if it is the same for every model."""

    lines: int = 0
    format: str = ""
    errors: list[LineError] = []
    facts: list[str] = []
    fields: list[str] = []
    tokens: dict[str, int] = {}

    @property
    def sound(self) -> bool:
        return not self.errors

    def summary(self) -> str:
        """Return one line for people."""
        if self.sound:
            return "Checks passed"
        first = self.errors[0]
        place = f"Line {first.line}: " if first.line else ""
        others = len(self.errors) - 1
        more = f" ({others}{'+' if len(self.errors) == MAX_ERRORS else ''} more errors)" if others else ""
        return f"{place}{first.message}{more}"


def validation_report(report: Report) -> dict[str, Any]:
    """Return `validation_report` of the API's file object, as a file's row keeps it. Besides the members that
    clients know it has all `errors`, the `fields` of eval files, and for training data tokens by model:
    `token_counts`, to which others are added later, and `token_counts_missing`, the reasons for having
    none."""
    shown: dict[str, Any] = {"valid": report.sound, "nlines": report.lines}
    if report.format:
        shown["dataset_format"] = report.format.upper()
    if report.format in _TRAINING:
        shown |= {_name(fact): fact in report.facts for fact in _FACTS}
    if report.fields:
        shown["fields"] = report.fields
    if not report.sound:
        errors = msgspec.to_builtins(report.errors)
        return {**shown, "error_type": "INVALID_FORMAT", "error": report.summary(), "errors": errors}
    return {**shown, "token_counts": report.tokens} if report.format in (*_TRAINING, "tokens") else shown


def _name(fact: str) -> str:
    return "dataset_is_multimodal" if fact == "multimodal" else f"dataset_has_{fact}"
