"""Make a toy, and look at it."""

from fastapi import APIRouter, Request

from tutti.features.toy import service
from tutti.features.toy.schemas import Toy, ToyRequest
from tutti.http.context import caller
from tutti.platform import Platform


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(tags=["Toys"])

    @routes.post("/toys", operation_id="createToy", response_model=Toy)
    async def create(request: Request, body: ToyRequest) -> Toy:
        """Make a toy of this size."""
        return await service.create(platform, caller(request).project_id, body.size)

    @routes.get("/toys/{id}", operation_id="retrieveToy", response_model=Toy)
    async def retrieve(request: Request, id: str) -> Toy:
        """Return a toy, made or not."""
        return await service.retrieve(platform, caller(request).project_id, id)

    return routes
