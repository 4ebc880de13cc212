"""Identifiers: a prefix that names the kind of thing, then time-ordered random base32."""

import secrets
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's alphabet: in order, without i, l, o and u."""
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]


def new_id(prefix: str) -> str:
    """Return `prefix-` + 26 characters: 48 bits of milliseconds (so ids sort by age), 80 random bits, as in
    ULID."""
    return f"{prefix}-{_base32((time.time_ns() // 1_000_000 << 80) | secrets.randbits(80), 26)}"


def new_secret(prefix: str) -> str:
    """Return a credential: `prefix_` + 160 random bits."""
    return f"{prefix}_{_base32(secrets.randbits(160), 32)}"


def _base32(number: int, length: int) -> str:
    """Encode the number in `length` characters, which is even."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(5 * length - 10, -1, -10)])
