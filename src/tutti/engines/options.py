"""Options of catalogue entries, as engines type them.

An engine declares its options once, as a subclass of `Options`: names, types, the real defaults, and under
each what it does. `make docs` writes them into docs/generated/engines.md, `tutti serve` checks the entries of
the user's file against them, and the engine reads them by `of`. A default of None means that the option is
left to the engine, or to the program that it starts.
"""

from typing import Self

import msgspec

from tutti.base.errors import LoadFailed
from tutti.base.model import Model


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options that every engine has."""

    matryoshka: bool = False
    """Embeddings may be shortened to any number of dimensions."""

    @classmethod
    def of(cls, model: Model) -> Self:
        """Decode the options of an entry. Raises LoadFailed, which names the model and the option.

        This takes half a microsecond, so nothing is kept."""
        try:
            return msgspec.convert(model.options, cls)
        except msgspec.ValidationError as error:
            cause = str(error).replace("`$.", "`options.")
            raise LoadFailed(f"The entry of {model.name} has wrong options: {cause}.") from error


class AdapterOptions(Options, frozen=True):
    """Options that an upload writes into the entry of an adapter."""

    lora_module: str = ""
    """The adapter's name at the engine; requests to the entry use it."""
    lora_rank: int = 1
    """The adapter's rank."""


def listed(value: str | list[str]) -> list[str]:
    """Return the values of an option that is a list, or one value without a list around it."""
    return value if isinstance(value, list) else [value] if value else []
