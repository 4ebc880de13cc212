"""Identifiers: a prefix that says what it names, then time-ordered random base32."""

import secrets
import time
from base64 import b32hexencode

_CROCKFORD = bytes.maketrans(b"0123456789ABCDEFGHIJKLMNOPQRSTUV", b"0123456789abcdefghjkmnpqrstvwxyz")
"""From Python's base32 with an ordered alphabet to the one without i, l, o and u."""
_BYTES = 20  # 32 digits


def new_id(prefix: str) -> str:
    """`prefix-` + 26 characters: 48 bits of milliseconds (so ids sort by age), 80 random bits, as in ULID."""
    return f"{prefix}-{_base32((time.time_ns() // 1_000_000 << 80) | secrets.randbits(80), 26)}"


def new_secret(prefix: str) -> str:
    """A credential: `prefix_` + 160 random bits."""
    return f"{prefix}_{_base32(secrets.randbits(160), 32)}"


def _base32(number: int, length: int) -> str:
    """At most 32 digits."""
    return b32hexencode(number.to_bytes(_BYTES))[-length:].translate(_CROCKFORD).decode()
