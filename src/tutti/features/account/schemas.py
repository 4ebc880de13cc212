"""Bodies of whoami, projects and billing usage, as the clients declare them (the contract does not)."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from tutti.features.paging import CursorList


class Whoami(BaseModel):
    api_key_id: str
    organization_id: str
    organization_name: str
    project_id: str
    project_name: str
    project_slug: str
    user_id: str | None = None


class WhoamiAPIKey(BaseModel):
    id: str


class WhoamiOrganization(BaseModel):
    id: str
    name: str


class WhoamiProject(BaseModel):
    id: str
    name: str
    slug: str


class WhoamiProjectAPIKey(BaseModel):
    type: Literal["project_api_key"]
    api_key: WhoamiAPIKey
    organization: WhoamiOrganization
    project: WhoamiProject


class ProjectInfo(BaseModel):
    id: str
    name: str
    slug: str
    organization_id: str
    organization_name: str


class ProjectList(CursorList[ProjectInfo]):
    pass


class BillingUsageLineItem(BaseModel):
    product_name: str
    quantity: str = Field(description="Tokens, as a decimal string.")
    unit_price: str = Field(description="Dollars for one token, as a decimal string.")
    cost: str = Field(description="Dollars, as a decimal string.")
    attributes: dict[str, str]
    pricing_dimensions: dict[str, str]


class UsageTotals(BaseModel):
    """The usage of one group of requests. `model`, `key_id` and `operation` are set where grouped by them."""

    model: str | None = None
    key_id: str | None = None
    operation: str | None = None
    requests: int
    failed_requests: int = Field(description="Answered with a status of 400 or above.")
    prompt_tokens: int
    completion_tokens: int
    mean_latency_ms: float
    mean_first_token_ms: float | None
    cost: str = Field(description="Dollars, as a decimal string.")


class BillingUsageWindow(BaseModel):
    date: str
    start_time: datetime
    end_time: datetime = Field(description="Exclusive.")
    line_items: list[BillingUsageLineItem]
    usage: list[UsageTotals] = Field(description="Tutti's own: the numbers behind the line items.")


class BillingUsageReport(BaseModel):
    object: Literal["list"]
    organization_id: str
    project_id: str
    billing_period: str = Field(description="YYYY-MM; with `start` or `end`, the month of the start.")
    currency: Literal["USD"]
    data: list[BillingUsageWindow]
    earliest_window_start: datetime | None
    latest_window_end: datetime | None
    next_cursor: str | None
