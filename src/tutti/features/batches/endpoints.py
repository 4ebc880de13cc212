"""The endpoints whose requests a batch may hold."""

from collections.abc import Mapping
from types import MappingProxyType

from tutti.base.errors import InvalidRequest

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank")
"""Each takes a JSON body. A new one is a path here."""
_LATER: Mapping[str, str] = MappingProxyType(
    {
        "/v1/audio/transcriptions": "This server does not transcribe audio yet",
        "/v1/audio/translations": "This server does not translate audio yet",
    }
)


def check_endpoint(endpoint: str) -> None:
    """Raises InvalidRequest."""
    if endpoint in ENDPOINTS:
        return
    why = _LATER.get(endpoint, f"There are no batches for {endpoint[:100]}")
    raise InvalidRequest(f"{why}: endpoint must be one of {', '.join(ENDPOINTS)}.", param="endpoint")
