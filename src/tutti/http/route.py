"""Routes that are taken often: what the middleware has read of the body already is not read again."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from tutti.http.body import decoded


class BodyRoute(APIRoute):
    """For endpoints with the parameters `request` and `body`, a model, and no others. FastAPI describes them
    as any other, but would parse the JSON once more and look for parameters everywhere else."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        usual, endpoint, model = super().get_route_handler(), self.endpoint, self.body_field
        assert model is not None, f"{self.path} has no body"

        async def handle(request: Request) -> Response:
            value = decoded(request.scope)
            if value is None:
                return await usual(request)  # which says what is wrong with a body that is not JSON
            body, complaints = model.validate(value, {}, loc=("body",))
            if complaints:
                raise RequestValidationError(complaints, body=value)
            return await endpoint(request=request, body=body)

        return handle
