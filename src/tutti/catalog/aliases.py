"""Names that stand for a model: `{"meta-llama/*": "Qwen/..."}`. One step: a target is no alias itself."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

_WILD = "*?["


def exact_alias(aliases: Mapping[str, str], name: str) -> str | None:
    return aliases.get(name)


def pattern_alias(aliases: Mapping[str, str], name: str) -> str | None:
    """The longest pattern with some literal text wins."""
    return _longest(aliases, name, [p for p in aliases if _is_pattern(p) and p.strip("*?")])


def catch_all_alias(aliases: Mapping[str, str], name: str) -> str | None:
    """`*`: for names that nothing else knows."""
    return _longest(aliases, name, [p for p in aliases if _is_pattern(p) and not p.strip("*?")])


def any_alias(aliases: Mapping[str, str], name: str) -> str | None:
    """Of a name that no model has: what it stands for."""
    finders = (exact_alias, pattern_alias, catch_all_alias)
    return next((target for find in finders if (target := find(aliases, name)) is not None), None)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in _WILD)


def _longest(aliases: Mapping[str, str], name: str, patterns: list[str]) -> str | None:
    matching = [pattern for pattern in patterns if fnmatchcase(name, pattern)]
    return aliases[max(matching, key=lambda p: (len(p), p))] if matching else None
