"""Types of fields, and models, that the bodies of several features have."""

from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1


def as_whole(value: Any) -> Any:
    """Return a float without a fraction as an int: JSON has one kind of number, so 10.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def at_most(most: int) -> BeforeValidator:
    """Return a validator that refuses a list of more than `most` items before it validates any of them."""

    def check(value: Any) -> Any:
        size = len(cast(list[Any], value)) if isinstance(value, list) else 0
        if size > most:
            raise ValueError(f"it has {size} items, and at most {most} are taken: send fewer at once")
        return cast(Any, value)

    return BeforeValidator(check)


Whole = Annotated[int, BeforeValidator(as_whole)]
Count = Annotated[Whole, Field(ge=1, le=INT32_MAX)]
Seed = Annotated[Whole, Field(ge=-_INT64_MAX, le=_INT64_MAX)]
JsonObject = dict[str, JsonValue]
DEPRECATED: dict[str, JsonValue] = {"deprecated": True}
"""Marks a field as deprecated in the schema only: Pydantic's own mark warns at every access."""
TokenIds = Annotated[list[Annotated[int, Field(ge=0, le=INT32_MAX)]], Field(min_length=1)]
ShortText = Annotated[str, Field(max_length=1024)]


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class UsageData(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
