"""The tokens of external servers inside an evaluation's parameters: sealed in rows, left out of answers."""

from collections.abc import Callable
from typing import Any, cast

Json = dict[str, Any]
TOKEN = "external_api_token"  # noqa: S105 - the name of a field
_CALLED = ("judge", "model_to_evaluate", "model_a", "model_b")


def sealed(parameters: Json, seal: Callable[[str], str]) -> Json:
    """Return the parameters with `seal` applied to each token. It also opens them, given a function that
    does."""
    return _with_tokens(parameters, lambda called: {**called, TOKEN: seal(called[TOKEN])})


def without_tokens(parameters: Json) -> Json:
    return _with_tokens(
        parameters, lambda called: {name: value for name, value in called.items() if name != TOKEN}
    )


def _with_tokens(parameters: Json, change: Callable[[Json], Json]) -> Json:
    changed = dict(parameters)
    for name in _CALLED:
        called: Any = parameters.get(name)
        if isinstance(called, dict) and cast(Json, called).get(TOKEN):
            changed[name] = change(cast(Json, called))
    return changed
