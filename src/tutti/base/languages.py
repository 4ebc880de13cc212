"""Codes of languages, in any spelling of ISO 639 and BCP 47 that clients use: en, eng, en_US, zh-Hans-CN."""

_MOST_CHARACTERS = 35
FORM = "a code of ISO 639 or BCP 47 such as `en`, `eng` or `pt-BR`"


def locale(code: str) -> str | None:
    """Return the shortest tag that means the same: en-US for eng-us. None for a text that is no code of a
    language."""
    if len(code) > _MOST_CHARACTERS or not code.isascii():
        return None
    try:
        return _standardized(code)
    except ValueError:
        return None


def language(code: str) -> str | None:
    """Return only the language of a code, in two letters where ISO 639 has two for it: zh for cmn-Hans-CN."""
    tag = locale(code)
    return None if tag is None else _standardized(tag.partition("-")[0], macro=True).partition("-")[0]


def _standardized(code: str, *, macro: bool = False) -> str:
    """Return the standard spelling. Raises ValueError. The library's tables take 3 MB, which a server without
    speech need not have."""
    from langcodes import standardize_tag  # noqa: PLC0415

    return standardize_tag(code, macro=macro)
