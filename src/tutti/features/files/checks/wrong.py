"""The error of a line, and the helpers of every rule."""

from typing import Any, cast

Json = dict[str, Any]


class Wrong(Exception):
    """A mistake in a line. `message` says what is wrong and what helps; `param` names the field, such as
    `messages[2].role`; `code` is the name of the failed check in the official clients' reports."""

    def __init__(self, message: str, param: str | None = None, code: str = "key_value") -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def an_object(value: Any, param: str) -> Json:
    if not isinstance(value, dict):
        raise Wrong(f"`{param}` must be an object, but it is {kind(value)}.", param)
    return cast(Json, value)


def a_list(value: Any, param: str) -> list[Any]:
    if not isinstance(value, list):
        raise Wrong(f"`{param}` must be a list, but it is {kind(value)}.", param)
    return cast(list[Any], value)


def a_text(value: Any, param: str) -> str:
    if not isinstance(value, str):
        raise Wrong(f"`{param}` must be a string, but it is {kind(value)}.", param)
    return value


def kind(value: Any) -> str:
    """Return the JSON type of the value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def shown(value: Any) -> str:
    """Return the value as text, short enough for a message: files hold anything."""
    return shorter(value if isinstance(value, str) else str(value), 80)


def shorter(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
