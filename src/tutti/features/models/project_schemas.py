"""Bodies of the operations that the 3.x client calls under /v2. It declares them; the contract does not."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from tutti.base.model import ModelType
from tutti.features.paging import CursorList

Modality = Literal["MODALITY_TEXT", "MODALITY_IMAGE", "MODALITY_AUDIO", "MODALITY_VIDEO"]
Product = Literal["PRODUCT_SERVERLESS", "PRODUCT_DEDICATED", "PRODUCT_FINE_TUNING"]
Task = Literal[
    "CAPABILITY_CHAT",
    "CAPABILITY_EMBEDDING",
    "CAPABILITY_RERANKING",
    "CAPABILITY_IMAGE_GENERATION",
    "CAPABILITY_VIDEO_GENERATION",
]
Feature = Literal["FEATURE_TOOL_CALLING", "FEATURE_STRUCTURED_OUTPUT", "FEATURE_REASONING"]


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ModelWeights(_Camel):
    type: Literal["WEIGHTS_TYPE_DEFAULT", "WEIGHTS_TYPE_ADAPTER"]
    context_length: str | None = None


class ProjectModel(_Camel):
    id: str = Field(description="The same as the name.")
    name: str
    organization_id: str
    project_id: str
    visibility: Literal["VISIBILITY_PRIVATE"]
    weights: ModelWeights
    base_model_id: str | None = Field(None, description="Of an adapter.")


class ProjectModelList(CursorList[ProjectModel]):
    pass


class SupportedPricing(_Camel):
    input: float
    output: float


class SupportedModel(_Camel):
    id: str = Field(description="The same as the name.")
    name: str
    base_model: str
    base_model_id: str
    capabilities: list[Task]
    created_at: datetime
    updated_at: datetime
    deployment_profiles: list[str] = Field(description="None: there are no dedicated deployments yet.")
    display_name: str
    display_type: ModelType
    input_modalities: list[Modality]
    output_modalities: list[Modality]
    products: list[Product]
    publisher: str
    status: Literal["SUPPORTED_MODEL_STATUS_SUPPORTED"]
    features: list[Feature]
    context_length: str | None = None
    pricing: SupportedPricing


class SupportedModelList(CursorList[SupportedModel]):
    pass
