"""Values as a list of evaluations shows them: it stays small, however long their templates are."""

from typing import Any, cast

LONGEST = 200
MOST = 20


def shorter(value: Any) -> Any:
    """Return the value with long texts and long lists cut; the evaluation itself has them whole."""
    match value:
        case str():
            return value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
        case dict():
            return {name: shorter(it) for name, it in cast(dict[str, Any], value).items()}
        case list():
            items = cast(list[Any], value)
            more = [f"... and {len(items) - MOST} more"] if len(items) > MOST else []
            return [shorter(it) for it in items[:MOST]] + more
        case _:
            return value
