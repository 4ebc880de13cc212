"""The endpoints whose requests a batch may hold."""

from tutti.base.errors import InvalidRequest

ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
)
"""Each takes a JSON body; that of audio names a URL as its `file`. A new one is a path here."""


def check_endpoint(endpoint: str) -> None:
    """Raises InvalidRequest."""
    if endpoint in ENDPOINTS:
        return
    message = f"There are no batches for {endpoint[:100]}: endpoint must be one of {', '.join(ENDPOINTS)}."
    raise InvalidRequest(message, param="endpoint")
