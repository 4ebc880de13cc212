"""Bodies of the batches routes, in the shapes of Together and of OpenAI."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue, RootModel, WithJsonSchema

from tutti.features.fields import Body
from tutti.features.paging import IdList

OpenAIStatus = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
Metadata = dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]]


class BatchJobStatus(StrEnum):
    """Current status of the batch job"""

    VALIDATING = "VALIDATING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class CreateBatchRequest(Body):
    endpoint: str = Field(description="The endpoint to use for batch processing")
    input_file_id: str = Field(
        max_length=64, description="ID of the uploaded input file containing batch requests"
    )
    completion_window: str | None = Field(
        None, description="Time window for batch completion: 24h (the default), or another such as 30m or 3d"
    )
    priority: int | None = Field(
        None, ge=-1_000_000, le=1_000_000, description="The higher, the sooner among the project's batches"
    )
    model_id: str | None = Field(
        None, max_length=255, description="Model for the requests that name none themselves"
    )
    metadata: Metadata | None = Field(None, max_length=16, description="openai's: up to 16 strings to keep.")


class BatchJob(BaseModel):
    """Together's shape."""

    id: Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
    user_id: str = Field(description="The key that made it.")
    input_file_id: str
    file_size_bytes: int = Field(description="Size of input file in bytes")
    status: BatchJobStatus
    job_deadline: datetime
    created_at: datetime
    endpoint: str
    progress: float = Field(description="Completion progress (0.0 to 100)")
    model_id: str | None = Field(None, description="Model used for processing requests")
    output_file_id: str | None = None
    error_file_id: str | None = None
    error: str | None = None
    completed_at: datetime | None = None


class BatchJobList(RootModel[list[BatchJob]]):
    pass


class BatchJobWithWarning(BatchJob):
    """The batch itself, for openai's clients, and again as `job`, for Together's."""

    job: BatchJob
    warning: str | None = None


class RequestCounts(BaseModel):
    total: int
    completed: int
    failed: int


class LineError(BaseModel):
    code: str
    line: int | None = None
    message: str
    param: str | None = None


class LineErrors(BaseModel):
    object: Literal["list"]
    data: list[LineError]


class InputDetails(BaseModel):
    cached_tokens: int


class OutputDetails(BaseModel):
    reasoning_tokens: int


class BatchUsage(BaseModel):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class OpenAIBatch(BaseModel):
    id: str
    object: Literal["batch"]
    endpoint: str
    model: str | None
    errors: LineErrors | None
    input_file_id: str
    completion_window: str
    status: OpenAIStatus
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage
    metadata: dict[str, JsonValue] | None


class OpenAIBatchList(IdList[OpenAIBatch]):
    """A page of batches, as OpenAI's clients expect it."""


class OpenAIBatchWithJob(OpenAIBatch):
    job: BatchJob
    warning: str | None = None
