"""Aliases: names that stand for a model, as in `{"meta-llama/*": "Qwen/..."}`. There is one step: the target
of an alias is no alias itself."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

_WILD = "*?["


def exact_alias(aliases: Mapping[str, str], name: str) -> str | None:
    return aliases.get(name)


def pattern_alias(aliases: Mapping[str, str], name: str) -> str | None:
    """Return the target of the longest matching pattern that has some literal text."""
    return _longest(aliases, name, [p for p in aliases if _is_pattern(p) and p.strip("*?")])


def catch_all_alias(aliases: Mapping[str, str], name: str) -> str | None:
    """Return the target of `*`, which stands for names that nothing else knows."""
    return _longest(aliases, name, [p for p in aliases if _is_pattern(p) and not p.strip("*?")])


def any_alias(aliases: Mapping[str, str], name: str) -> str | None:
    """Return the target of any alias that matches a name which no model has."""
    finders = (exact_alias, pattern_alias, catch_all_alias)
    return next((target for find in finders if (target := find(aliases, name)) is not None), None)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in _WILD)


def _longest(aliases: Mapping[str, str], name: str, patterns: list[str]) -> str | None:
    matching = [pattern for pattern in patterns if fnmatchcase(name, pattern)]
    return aliases[max(matching, key=lambda p: (len(p), p))] if matching else None
