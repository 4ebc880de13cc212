"""The batches routes. Together's clients see a bare array, upper-case states and dates; OpenAI's a list
object, lower-case states and Unix seconds: the answers vary with the client."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from tutti.features.answers import answer
from tutti.features.batches import service
from tutti.features.batches.schemas import (
    BatchJob,
    BatchJobList,
    BatchJobWithWarning,
    CreateBatchRequest,
    OpenAIBatchList,
    OpenAIBatchWithJob,
)
from tutti.features.batches.shapes import openai, together
from tutti.features.paging import Page, cut
from tutti.http.context import Family, caller, family
from tutti.platform import Platform
from tutti.store.records import Batch

_PAGE = {"openai": 20, "together": 1000}


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(prefix="/batches", tags=["Batches"])

    @routes.post(
        "",
        operation_id="createBatch",
        summary="Create a batch job",
        status_code=201,
        response_model=BatchJobWithWarning,
    )
    async def create(request: Request, body: CreateBatchRequest) -> Response:
        """Create a new batch job with the given input file and endpoint"""
        speaks = family(request)
        row, warning = await service.create(platform, caller(request), speaks, body)
        return answer(_created(row, warning, speaks), 200 if speaks == "openai" else 201)

    @routes.get("", operation_id="listBatches", summary="List batch jobs", response_model=BatchJobList)
    async def batches(
        request: Request,
        after: Annotated[
            str | None, Query(max_length=64, description="Id of the page's predecessor.")
        ] = None,
        limit: Annotated[
            int | None, Query(ge=1, le=1000, description="Default: 20 for openai's clients, else 1000.")
        ] = None,
    ) -> Response:
        """List the project's batch jobs, the newest first"""
        speaks = family(request)
        size = limit or _PAGE[speaks]
        rows = await service.newest(platform, caller(request).project_id, after, size + 1)
        return answer(_listed(cut(rows, size), speaks))

    @routes.get("/{id}", operation_id="getBatch", summary="Get a batch job", response_model=BatchJob)
    async def batch(request: Request, id: str) -> Response:
        """Get details of a batch job by ID"""
        row = await service.retrieve(platform, caller(request).project_id, id)
        return answer(_shaped(row, family(request)))

    @routes.post(
        "/{id}/cancel", operation_id="cancelBatch", summary="Cancel a batch job", response_model=BatchJob
    )
    async def cancel(request: Request, id: str) -> Response:
        """Cancel a batch job by ID; what is done is kept"""
        row = await service.request_cancel(platform, caller(request).project_id, id)
        return answer(_shaped(row, family(request)))

    return routes


def _created(row: Batch, warning: str | None, speaks: Family) -> BaseModel:
    job = together(row)
    if speaks == "openai":
        return OpenAIBatchWithJob(**openai(row).model_dump(), job=job, warning=warning)
    return BatchJobWithWarning(**job.model_dump(), job=job, warning=warning)


def _shaped(row: Batch, speaks: Family) -> BaseModel:
    return openai(row) if speaks == "openai" else together(row)


def _listed(page: Page[Batch], speaks: Family) -> BaseModel:
    if speaks == "together":
        return BatchJobList([together(row) for row in page.rows])
    data = [openai(row) for row in page.rows]
    ends = page.ends(lambda row: row.id)
    return OpenAIBatchList(object="list", data=data, has_more=page.has_more, **ends)
