"""Routes of evaluations. Some paths of the 1.x client are plural: each operation is there under both
names."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from tutti.features.evaluations import service
from tutti.features.evaluations.admission import TemplateChecks
from tutti.features.evaluations.schemas import (
    EvaluationJob,
    EvaluationJobList,
    EvaluationModelList,
    EvaluationResponse,
    EvaluationStatusResponse,
    EvaluationTypedRequest,
)
from tutti.http.context import caller
from tutti.platform import Platform

MAX_LISTED = 1000


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(tags=["evaluation"])
    templates = TemplateChecks()

    @_both(routes, "POST", "", "createEvaluationJob", "Create an evaluation job")
    async def create(request: Request, body: EvaluationTypedRequest) -> EvaluationResponse:
        """Judge every row of a file with a model. The answer comes at once, the results later."""
        row = await service.create(platform, templates, caller(request), body)
        return EvaluationResponse(workflow_id=row.id, status="pending")

    @_both(routes, "GET", "", "getAllEvaluationJobs", "Get all evaluation jobs")
    async def newest(
        request: Request,
        status: Annotated[str | None, Query(description="Only those of this status.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="The newest so many.")] = 10,
    ) -> EvaluationJobList:
        """List the project's evaluations, newest first. Long texts and lists in their parameters are cut."""
        return EvaluationJobList(await service.newest(platform, caller(request).project_id, status, limit))

    @_both(routes, "GET", "/model-list", "getModelList", "Get model list")
    async def model_list(
        request: Request,
        model_source: Annotated[str, Query(description="all, serverless, dedicated or external.")] = "all",
    ) -> EvaluationModelList:
        """List the models that can judge and be judged."""
        names = await service.model_names(platform, caller(request).project_id, model_source)
        return EvaluationModelList(model_list=names)

    @_both(routes, "GET", "/{id}", "getEvaluationJobDetails", "Get evaluation job details")
    async def retrieve(request: Request, id: str) -> EvaluationJob:
        """Return the evaluation's parameters, without tokens, and its results once it is completed."""
        return service.shown(await service.find(platform, caller(request).project_id, id))

    @_both(
        routes,
        "GET",
        "/{id}/status",
        "getEvaluationJobStatusAndResults",
        "Get evaluation job status and results",
    )
    async def status(request: Request, id: str) -> EvaluationStatusResponse:
        """Return the evaluation's status, and its results once it is completed."""
        row = service.shown(await service.find(platform, caller(request).project_id, id))
        return EvaluationStatusResponse(status=row.status, results=row.results)

    return routes


def _both(
    routes: APIRouter, method: str, path: str, operation_id: str, summary: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        routes.add_api_route(
            f"/evaluation{path}", endpoint, methods=[method], operation_id=operation_id, summary=summary
        )
        routes.add_api_route(f"/evaluations{path}", endpoint, methods=[method], include_in_schema=False)
        return endpoint

    return add
