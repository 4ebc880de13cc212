"""Bodies of the evaluation operations. Component names are the contract's."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    JsonValue,
    RootModel,
    Tag,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import TypeAliasType

from tutti.features.fields import Body, Count, Whole

EvaluationType = Literal["classify", "score", "compare"]
EvaluationStatus = Literal["pending", "queued", "running", "completed", "error", "user_error"]
ModelSource = Literal["serverless", "dedicated", "external"]

DEFAULT_JUDGE_MAX_TOKENS = 32768
DEFAULT_JUDGE_TEMPERATURE = 0.05
_TAG = "\0type"
Json = dict[str, Any]


def _object_or_string(value: Any) -> str:
    """Return the tag of the union's member that a value is meant for, so that it is checked by that one
    only."""
    return "object" if isinstance(value, dict | BaseModel) else "string"


def _tag(value: Any) -> str | None:
    return cast(Json, value).get(_TAG) if isinstance(value, dict) else "compare"


Workers = Annotated[Whole, Field(ge=1, le=256)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Name = Annotated[str, Field(min_length=1, max_length=1024)]
Label = Annotated[str, Field(min_length=1, max_length=256)]


# --- what is asked for ------------------------------------------------------------------------------------


class Called(Body):
    """A model to call, as a judge or to be judged."""

    model: Name
    model_source: ModelSource = Field(
        description="`external`: `external_base_url` and `external_api_token` say where."
    )
    system_template: str = Field(description="System prompt: a Jinja template of the row's fields.")
    external_api_token: Annotated[str, Field(max_length=8192)] | None = Field(
        None, description="Sealed while it is kept, and never shown again."
    )
    external_base_url: Annotated[str, Field(max_length=2048)] | None = Field(
        None, description="Of an OpenAI-compatible server."
    )
    num_workers: Workers | None = Field(None, description="Requests to this model at a time.")


class EvaluationJudgeModelConfig(Called):
    max_tokens: Count | None = Field(None, description=f"Default: {DEFAULT_JUDGE_MAX_TOKENS}.")
    temperature: Temperature | None = Field(None, description=f"Default: {DEFAULT_JUDGE_TEMPERATURE}.")


class EvaluationModelRequest(Called):
    max_tokens: Count
    temperature: Temperature
    input_template: str = Field(description="User message: a Jinja template of the row's fields.")


EvaluationModelOrString = TypeAliasType(
    "EvaluationModelOrString",
    Annotated[
        Annotated[Name, Tag("string")] | Annotated[EvaluationModelRequest, Tag("object")],
        Discriminator(_object_or_string),
    ],
)
"""A model that writes the responses, or the field of the data that has them."""


class Parameters(Body):
    judge: EvaluationJudgeModelConfig
    input_data_file_path: Name = Field(description="Id of the data file: jsonl or csv.")


class EvaluationClassifyParameters(Parameters):
    labels: Annotated[list[Label], Field(min_length=2, max_length=256)]
    pass_labels: Annotated[list[Label], Field(min_length=1, max_length=256)]
    model_to_evaluate: EvaluationModelOrString | None = None


class EvaluationScoreParameters(Parameters):
    min_score: float
    max_score: float
    pass_threshold: float
    model_to_evaluate: EvaluationModelOrString | None = None


class EvaluationCompareParameters(Parameters):
    model_a: EvaluationModelOrString | None = None
    model_b: EvaluationModelOrString | None = None
    disable_position_bias_correction: bool | None = Field(
        None, description="true: the judge sees the responses in one order only."
    )


AnyParameters = EvaluationClassifyParameters | EvaluationScoreParameters | EvaluationCompareParameters


class EvaluationTypedRequest(Body):
    type: EvaluationType
    parameters: Annotated[
        Annotated[EvaluationClassifyParameters, Tag("classify")]
        | Annotated[EvaluationScoreParameters, Tag("score")]
        | Annotated[EvaluationCompareParameters, Tag("compare")],
        Discriminator(_tag),
    ]

    @model_validator(mode="before")
    @classmethod
    def _judged_by_type(cls, body: Any) -> Any:
        """Tag the parameters with `type`, which stands beside them and says which ones they are."""
        parameters: Any = cast(Json, body).get("parameters") if isinstance(body, dict) else None
        if not isinstance(parameters, dict):
            return cast(Any, body)
        tagged = {**cast(Json, parameters), _TAG: cast(Json, body).get("type")}
        return {**cast(Json, body), "parameters": tagged}


# --- what is answered -------------------------------------------------------------------------------------


class EvaluationResponse(BaseModel):
    workflow_id: str
    status: Literal["pending"]


Number = Annotated[int, WithJsonSchema({"type": "number"})]
"""The contract's type for counts."""


class EvaluationClassifyResults(BaseModel):
    generation_fail_count: Number | None = None
    judge_fail_count: Number | None = None
    invalid_label_count: Number | None = None
    result_file_id: str | None = None
    pass_percentage: float | None = Field(None, description="Of the rows that got one of the labels.")
    label_counts: str | None = Field(None, description="A JSON object as a string.")


class AggregatedScores(BaseModel):
    mean_score: float | None = None
    std_score: float | None = Field(None, description="Of the population, not of a sample.")
    pass_percentage: float | None = Field(None, description="Of the rows that got a valid score.")


class EvaluationScoreResults(BaseModel):
    aggregated_scores: AggregatedScores | None = None
    generation_fail_count: Number | None = None
    judge_fail_count: Number | None = None
    invalid_score_count: Number | None = None
    failed_samples: Number | None = Field(None, description="Rows without a valid score.")
    result_file_id: str | None = None


class EvaluationCompareResults(BaseModel):
    num_samples: int | None = Field(None, description="Rows that were compared: wins and ties.")
    A_wins: int | None = None
    B_wins: int | None = None
    Ties: int | None = None
    generation_fail_count: Number | None = None
    judge_fail_count: Number | None = Field(None, description="Over both orders.")
    result_file_id: str | None = None


class EvaluationError(BaseModel):
    error: str | None = None


AnyResults = EvaluationClassifyResults | EvaluationScoreResults | EvaluationCompareResults | EvaluationError


class EvaluationJobStatusUpdate(BaseModel):
    status: str
    message: str
    timestamp: datetime


class EvaluationJob(BaseModel):
    workflow_id: str
    type: EvaluationType
    status: EvaluationStatus
    status_updates: list[EvaluationJobStatusUpdate]
    parameters: dict[str, JsonValue]
    created_at: datetime
    updated_at: datetime
    results: AnyResults | None


class EvaluationJobList(RootModel[list[EvaluationJob]]):
    pass


class EvaluationStatusResponse(BaseModel):
    status: EvaluationStatus
    results: AnyResults | None


class EvaluationModelList(BaseModel):
    model_list: list[str]
