"""Bodies of the files routes. The contract has GET, DELETE and /files/upload; the rest follows the
clients."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tutti.features.paging import IdList


class FileType(StrEnum):
    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"


class FilePurpose(StrEnum):
    """The contract has the first three; together's clients know the next two; the rest is openai's."""

    fine_tune = "fine-tune"
    eval = "eval"
    batch_api = "batch-api"
    eval_output = "eval-output"
    calibration = "calibration"
    batch = "batch"
    batch_output = "batch_output"
    evals = "evals"
    user_data = "user_data"


class ValidationReport(BaseModel):
    """Results of the check of the file's content."""

    model_config = ConfigDict(extra="allow")

    valid: bool
    error: str | None = None
    error_type: Literal["INVALID_FORMAT"] | None = None
    file_id: str | None = None
    nlines: int | None = None


class FileResponse(BaseModel):
    id: str
    object: Literal["file"]
    created_at: int
    filename: str
    bytes: int
    purpose: FilePurpose
    FileType: FileType
    Processed: bool = Field(description="Whether the check of the content has ended.")
    LineCount: int | None = Field(None, description="For the 1.x client; known once the check has ended.")
    processing_status: (
        Literal["PENDING", "QUEUED", "RUNNING", "COMPLETED", "FAILED", "INVALID_FORMAT"] | None
    ) = Field(None, description="Of the check of the content.")
    validation_report: ValidationReport | None = None
    checksum: str | None = Field(None, description="SHA-256 of the bytes, in hex.")
    status: Literal["uploaded", "processed", "error"] | None = Field(
        None, description="For openai's clients: of the check of the content."
    )
    expires_at: int | None = None


class FileList(IdList[FileResponse]):
    pass


class FileDeleteResponse(BaseModel):
    id: str
    object: Literal["file"]
    deleted: bool


class Announcement(BaseModel):
    """A file that is going to be uploaded."""

    file_name: str = Field(min_length=1, max_length=4096)
    purpose: FilePurpose
    file_type: FileType | None = None
    checksum: str | None = Field(None, pattern="^[0-9a-fA-F]{64}$")


class UploadForm(Announcement):
    """The fields beside the bytes, when they come in one request."""

    expires_after_seconds: int | None = Field(
        None, alias="expires_after[seconds]", ge=3600, le=2_592_000, description="openai's."
    )


class MultipartInitiateRequest(Announcement):
    file_size: int = Field(gt=0)
    num_parts: int = Field(ge=1, le=10_000)


class UploadTarget(BaseModel):
    """Both spellings, for clients of both kinds."""

    PartNumber: int
    part_number: int
    URL: str
    UploadURL: str
    Headers: dict[str, str]


class MultipartInitiateResponse(BaseModel):
    upload_id: str
    file_id: str
    parts: list[UploadTarget]


class CompletedPart(BaseModel):
    part_number: int = Field(ge=1, le=10_000)
    etag: Annotated[str, Field(min_length=1, max_length=256)]


class MultipartAbortRequest(BaseModel):
    upload_id: str
    file_id: str


class MultipartCompleteRequest(MultipartAbortRequest):
    parts: list[CompletedPart] = Field(max_length=10_000)


class MultipartCompleteResponse(BaseModel):
    file: FileResponse


class MultipartAbortResponse(BaseModel):
    upload_id: str
    file_id: str
    aborted: bool
