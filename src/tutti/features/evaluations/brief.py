"""Values shortened for a list of evaluations, which stays small however long their templates are."""

from typing import Any, cast

LONGEST = 200
MOST = 20


def shorter(value: Any) -> Any:
    """Return the value with long texts and long lists cut; the evaluation itself has them whole."""
    match value:
        case str():
            return value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
        case dict():
            return {name: shorter(member) for name, member in cast(dict[str, Any], value).items()}
        case list():
            items = cast(list[Any], value)
            more = [f"... and {len(items) - MOST} more"] if len(items) > MOST else []
            return [shorter(item) for item in items[:MOST]] + more
        case _:
            return value
