"""Credentials of clients, sealed before they are stored: a copy of the database opens none of them."""

import base64
import binascii
import os

_VERSION = "v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_ID_BYTES = 6


class SealBroken(Exception):
    """The text was sealed under another server secret or for another context, or was changed."""


class Sealer:
    """Seals texts with AES-256-GCM, with a key derived from the server's secret. A sealed text is `v1.<key
    id>.<base64url>`. The id says nothing about the key; once the secret has changed, it identifies texts
    sealed under the old one."""

    def __init__(self, secret: bytes) -> None:
        from tutti.store.ciphers import AESGCM, derived  # noqa: PLC0415 - most servers keep no secrets

        self._cipher = AESGCM(derived(secret, b"tutti sealing key", _KEY_BYTES))
        self._id = derived(secret, b"tutti sealing key id", _ID_BYTES).hex()

    def seal(self, text: str, context: str) -> str:
        """Seal the text. `context` names its owner, such as a project's id: the sealed text opens for no
        other."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), self._bound_to(context))
        return f"{_VERSION}.{self._id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, context: str) -> str:
        """Return the text that was sealed. Raises SealBroken."""
        from tutti.store.ciphers import InvalidTag  # noqa: PLC0415 - most servers keep no secrets

        version, _, rest = sealed.partition(".")
        key_id, _, encoded = rest.partition(".")
        if version != _VERSION or key_id != self._id:
            raise SealBroken("It was sealed under another secret of the server.")
        try:
            data = base64.b64decode(encoded, altchars=b"-_", validate=True)
            opened = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], self._bound_to(context))
        except (InvalidTag, ValueError, binascii.Error):
            raise SealBroken("It has been changed, or belongs to something else.") from None
        return opened.decode()

    def _bound_to(self, context: str) -> bytes:
        return f"{_VERSION}.{self._id}.{context}".encode()
