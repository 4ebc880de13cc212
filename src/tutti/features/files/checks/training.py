"""Lines of training data: their format, one of four, and the rules of each."""

from collections.abc import Mapping, Sequence
from itertools import islice

from tutti.features.files.checks.messages import (
    Facts,
    check_content,
    check_messages,
    check_parts,
    check_tools,
)
from tutti.features.files.checks.wrong import Json, Wrong, a_list, an_object, shown

COLUMNS: Mapping[str, Sequence[str]] = {
    "general": ("text",),
    "conversation": ("messages",),
    "instruction": ("prompt", "completion"),
    "preference_openai": ("input", "preferred_output", "non_preferred_output"),
}
EXTRA: Mapping[str, Sequence[str]] = {"conversation": ("tools",)}
_MOST_NAMES = 5
_SAYS = "; ".join(f"{name}: {', '.join(columns)}" for name, columns in COLUMNS.items())


def check_training(fields: Json, facts: Facts) -> str:
    """Return the line's format. Raise Wrong if the line doesn't keep to it."""
    found = format_of(fields)
    if found == "conversation":
        check_messages(fields["messages"], "messages", facts, assistant=True)
        if fields.get("tools") is not None:
            check_tools(fields["tools"], "tools", facts)
    elif found == "preference_openai":
        _check_preference(fields, facts)
    else:
        for column in COLUMNS[found]:
            role = "assistant" if column == "completion" else "user"
            check_parts(fields[column], column, role, facts)
    return found


def format_of(fields: Json) -> str:
    """Return the format whose columns the line has. Raise Wrong unless it has those of exactly one."""
    formats = [name for name, columns in COLUMNS.items() if all(column in fields for column in columns)]
    if not formats:
        names = ", ".join(map(shown, islice(fields, _MOST_NAMES)))
        has = f"no format's columns, but {names}" if fields else "no columns"
        raise Wrong(f"The line has {has}. Formats and their columns: {_SAYS}.", code="format")
    allowed = {*COLUMNS[formats[0]], *EXTRA.get(formats[0], ())}
    for column in fields:
        if column not in allowed:
            message = f"The column `{shown(column)}` does not belong to the format {formats[0]}: remove it."
            raise Wrong(message, shown(column), "format")
    return formats[0]


def _check_preference(fields: Json, facts: Facts) -> None:
    given = an_object(fields["input"], "input")
    if "messages" not in given:
        raise Wrong("`input` has no `messages`.", "input.messages")
    messages = check_messages(given["messages"], "input.messages", facts, assistant=False)
    if messages[-1]["role"] == "assistant":
        message = "`input.messages` must not end with the assistant's: that is what is preferred or not."
        raise Wrong(message, "input.messages")
    if given.get("tools") is not None:
        check_tools(given["tools"], "input.tools", facts)
    for column in ("preferred_output", "non_preferred_output"):
        _check_output(fields, column, facts)


def _check_output(fields: Json, column: str, facts: Facts) -> None:
    outputs = a_list(fields[column], column)
    if len(outputs) != 1:
        raise Wrong(f"`{column}` must hold exactly one message, but holds {len(outputs)}.", column)
    at = f"{column}[0]"
    message = an_object(outputs[0], at)
    if message.get("role") != "assistant":
        raise Wrong(f"`{at}.role` must be `assistant`.", f"{at}.role")
    check_content(message, at, "assistant", facts)
