"""Options of catalogue entries, as engines type them."""

import msgspec


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names and types of what an entry may say, whatever its engine; an engine's own add to them. An engine
    reads its options itself: that these are left out is all that their defaults say here."""

    matryoshka: bool = False
    """Embeddings may be shortened to any number of dimensions."""
