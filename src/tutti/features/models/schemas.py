"""Bodies of /models, of uploads, and of /jobs."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field, RootModel

from tutti.base.model import ModelType

Status = Literal["loaded", "downloaded", "available"]


class Pricing(BaseModel):
    """Dollars for a million tokens (`hourly`: for an hour)."""

    hourly: float
    input: float
    output: float
    base: float
    finetune: float


class ModelInfo(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    type: ModelType
    display_name: str | None = None
    organization: str | None = None
    link: str | None = None
    license: str | None = None
    context_length: int | None = None
    pricing: Pricing
    owned_by: str | None = Field(None, description="For OpenAI's clients only.")
    status: Status = Field(
        description="`loaded`: it answers at once; `downloaded`: it is on this machine and has to be loaded; "
        "`available`: it has to be downloaded too.",
    )


class ModelInfoList(RootModel[list[ModelInfo]]):
    pass


class OpenAIModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelInfo]


class ModelUploadRequest(BaseModel):
    model_name: str = Field(
        description="The name to give to your uploaded model. Without `/` the project's slug goes in front.",
        examples=["Qwen2.5-72B-Instruct"],
        min_length=1,
        max_length=160,
    )
    model_source: str = Field(
        description="The source location of the model (Hugging Face repo or S3 path): owner/repo[@revision], "
        "or the address of a .gguf file or an archive (.zip, .tar.gz, .tar.zst), such as a presigned S3 one; "
        "`#sha256=...` at its end says which hash the file has to have.",
        examples=["unsloth/Qwen2.5-72B-Instruct"],
        min_length=1,
        max_length=8192,
    )
    model_type: Literal["model", "adapter"] | None = Field(
        "model", description="Whether the model is a full model or an adapter", examples=["model"]
    )
    hf_token: str | None = Field(
        None,
        description="Hugging Face token (if uploading from Hugging Face)",
        examples=["hf_examplehuggingfacetoken"],
        max_length=1000,
        repr=False,
    )
    description: str | None = Field(
        None,
        description="A description of your model",
        examples=["Finetuned Qwen2.5-72B-Instruct by Unsloth"],
        max_length=10_000,
    )
    base_model: str | None = Field(
        None,
        description="The base model to use for an adapter if setting it to run against a serverless pool. "
        "Only used for model_type `adapter`.",
        examples=["Qwen/Qwen2.5-72B-Instruct"],
        max_length=255,
    )
    lora_model: str | None = Field(
        None,
        description="The lora pool to use for an adapter if setting it to run against, say, a dedicated "
        "pool. Only used for model_type `adapter`. Here it means the same as `base_model`.",
        examples=["my_username/Qwen2.5-72B-Instruct-lora"],
        max_length=255,
    )


class ModelUpload(BaseModel):
    job_id: str = Field(examples=["job-a15dad11-8d8e-4007-97c5-a211304de284"])
    model_name: str = Field(
        description="The name to chat with, once the job is complete.",
        examples=["necolinehubner/Qwen2.5-72B-Instruct"],
    )
    model_id: str = Field(examples=["model-c0e32dfc-637e-47b2-bf4e-e9b2e58c9da7"])
    model_source: str = Field(examples=["huggingface"])


class ModelUploadSuccessResponse(BaseModel):
    data: ModelUpload
    message: str = Field(examples=["Processing model weights. Job created."])


class JobStatusUpdate(BaseModel):
    status: str = Field(examples=["Complete"])
    message: str = Field(examples=["Job is Complete"])
    timestamp: datetime = Field(examples=["2025-03-11T22:36:12Z"])


class JobArguments(BaseModel):
    description: str | None = Field(None, examples=["Finetuned Qwen2.5-72B-Instruct by Unsloth"])
    modelName: str | None = Field(None, examples=["necolinehubner/Qwen2.5-72B-Instruct"])
    modelSource: str | None = Field(None, examples=["unsloth/Qwen2.5-72B-Instruct"])


class JobInfoSuccessResponse(BaseModel):
    type: str = Field(examples=["model_upload"])
    job_id: str = Field(examples=["job-a15dad11-8d8e-4007-97c5-a211304de284"])
    status: Literal["Queued", "Running", "Complete", "Failed"] = Field(examples=["Complete"])
    status_updates: list[JobStatusUpdate]
    args: JobArguments
    created_at: datetime = Field(examples=["2025-03-11T22:05:43Z"])
    updated_at: datetime = Field(examples=["2025-03-11T22:36:12Z"])


class JobsInfoSuccessResponse(BaseModel):
    data: list[JobInfoSuccessResponse]
