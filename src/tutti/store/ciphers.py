"""The primitives of store/secrets, from cryptography."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["AESGCM", "InvalidTag", "derived"]


def derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    """Derive a key of `length` bytes for one purpose from the secret."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose).derive(secret)
