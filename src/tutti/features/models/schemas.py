"""Bodies of GET /models and GET /models/{id}."""

from typing import Literal

from pydantic import BaseModel, Field, RootModel

from tutti.base.model import ModelType


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


class ModelInfoList(RootModel[list[ModelInfo]]):
    pass


class OpenAIModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelInfo]
