"""The endpoints whose requests a batch may hold."""

from tutti.base.errors import InvalidRequest
from tutti.features.files.checks.batch import ENDPOINTS


def check_endpoint(endpoint: str) -> None:
    """Raise InvalidRequest unless a batch may hold requests to this endpoint."""
    if endpoint in ENDPOINTS:
        return
    message = f"There are no batches for {endpoint[:100]}: endpoint must be one of {', '.join(ENDPOINTS)}."
    raise InvalidRequest(message, param="endpoint")
