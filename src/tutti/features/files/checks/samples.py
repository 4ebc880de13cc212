"""The texts that a model reads of a line of training data, for workers/tokens to count."""

from collections.abc import Iterator
from typing import Any, cast

from tutti.features.files.checks.training import format_of
from tutti.features.files.checks.wrong import Json


class Uncountable(Exception):
    """A line whose tokens only the model itself could count, such as one with an image."""


def samples(fields: Json) -> Iterator[Json]:
    """Yield the samples of a line without errors. A prompt and its completion are one text; a preference is
    two conversations, one with each output."""
    match format_of(fields):
        case "general":
            yield {"text": _text(fields["text"])}
        case "instruction":
            yield {"text": _text(fields["prompt"]) + _text(fields["completion"])}
        case "conversation":
            yield _chat(fields["messages"], fields.get("tools"))
        case _:
            given = fields["input"]
            for column in ("preferred_output", "non_preferred_output"):
                yield _chat([*given["messages"], *fields[column]], given.get("tools"))


def _chat(messages: list[Json], tools: Any) -> Json:
    texts = [{**it, "content": _text(it["content"])} if it.get("content") else it for it in messages]
    return {"messages": texts, "tools": tools} if tools else {"messages": texts}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = cast(list[Json], content)
    if any(part["type"] != "text" for part in parts):
        raise Uncountable("the data has images")
    return "".join(part["text"] for part in parts)
