"""Codes of languages, by whichever of ISO 639 and BCP 47 a client writes them: en, eng, en_US, zh-Hans-CN."""

_MOST_CHARACTERS = 35
FORM = "a code of ISO 639 or BCP 47 such as `en`, `eng` or `pt-BR`"


def locale(code: str) -> str | None:
    """The shortest tag that means the same: eng-us is en-US. None for what is no code of a language."""
    if len(code) > _MOST_CHARACTERS or not code.isascii():
        return None
    try:
        return _standardized(code)
    except ValueError:
        return None


def language(code: str) -> str | None:
    """Only the language of a code, in two letters where ISO 639 has two for it: cmn-Hans-CN is zh."""
    tag = locale(code)
    return None if tag is None else _standardized(tag.partition("-")[0], macro=True).partition("-")[0]


def _standardized(code: str, *, macro: bool = False) -> str:
    """Raises ValueError. The library's tables take 3 MB, which a server without speech need not have."""
    from langcodes import standardize_tag  # noqa: PLC0415

    return standardize_tag(code, macro=macro)
