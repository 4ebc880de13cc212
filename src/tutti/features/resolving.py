"""The model that a request names."""

from fastapi import Request

from tutti.base.model import Model
from tutti.http.context import caller, log_model
from tutti.platform import Platform


async def requested_model(platform: Platform, request: Request, name: str) -> Model:
    """Return the model that the caller may use under this name or alias, and log it with the request. Raise
    NotFound."""
    model = await platform.dispatch.resolve(name, caller(request).project_id)
    log_model(request, model.name)
    return model
