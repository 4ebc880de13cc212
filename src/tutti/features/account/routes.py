"""whoami, projects and billing usage."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from tutti.features.account import service, usage_query
from tutti.features.account.schemas import (
    BillingUsageReport,
    ProjectList,
    Whoami,
    WhoamiAPIKey,
    WhoamiOrganization,
    WhoamiProject,
    WhoamiProjectAPIKey,
)
from tutti.features.account.usage import usage_report
from tutti.features.paging import Cursor, CursorLimit
from tutti.http.context import caller
from tutti.platform import Platform


def router(platform: Platform) -> APIRouter:
    routes = APIRouter(tags=["Account"])

    @routes.get("/whoami", operation_id="whoami", summary="Describe the caller")
    async def whoami(request: Request) -> Whoami:
        """Return the key that is used, its project and its organisation."""
        me = caller(request)
        organization, project = await service.owner(platform.database, me)
        return Whoami(
            api_key_id=me.key_id,
            organization_id=organization.id,
            organization_name=organization.name,
            project_id=project.id,
            project_name=project.name,
            project_slug=project.slug,
        )

    @routes.get("/projects", operation_id="listProjects", summary="List projects")
    async def projects(
        request: Request,
        after: Cursor = "",
        limit: CursorLimit = 100,
    ) -> ProjectList:
        """List the projects of the caller's organisation."""
        return await service.list_projects(platform.database, caller(request), after, limit)

    @routes.get("/billing/usage", operation_id="billingUsage", summary="Report usage and its cost")
    async def billing_usage(
        request: Request,
        month: Annotated[str | None, Query(description="YYYY-MM; default: the current month.")] = None,
        start: Annotated[
            str | None, Query(description="Instead of `month`: time, date or Unix seconds.")
        ] = None,
        end: Annotated[str | None, Query(description="Exclusive.")] = None,
        model: Annotated[str | None, Query(description="Only this model.")] = None,
        group_by: Annotated[str, Query(description="Of model, key, operation; comma-separated.")] = "model",
        granularity: Annotated[usage_query.Granularity, Query(description="Length of a window.")] = "day",
        after: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Windows a page.")] = 1000,
        organization_id: Annotated[str | None, Query(description="The caller's own, if any.")] = None,
    ) -> BillingUsageReport:
        """Report what the caller's project has used up to now, in windows of a day or an hour (UTC)."""
        me = caller(request)
        usage_query.check_organization(me, organization_id)
        first, last = usage_query.month_range(month)
        query = usage_query.UsageQuery(
            start=first if start is None else usage_query.moment(start, "start"),
            end=last if end is None else usage_query.moment(end, "end"),
            granularity=granularity,
            groups=usage_query.groups(group_by),
            model=model,
            after=usage_query.window_number(after),
            limit=limit,
        )
        return await usage_report(platform.database, platform.catalog, me, query)

    return routes


def root_router(platform: Platform) -> APIRouter:
    """Return the route outside /v1 that the CLI of the 3.x client asks before nearly every command."""
    routes = APIRouter(tags=["Account"])

    @routes.get("/v3/whoami", operation_id="whoamiV3", summary="Describe the caller")
    async def whoami(request: Request) -> WhoamiProjectAPIKey:
        """Return the key that is used, its project and its organisation."""
        me = caller(request)
        organization, project = await service.owner(platform.database, me)
        return WhoamiProjectAPIKey(
            type="project_api_key",
            api_key=WhoamiAPIKey(id=me.key_id),
            organization=WhoamiOrganization(id=organization.id, name=organization.name),
            project=WhoamiProject(id=project.id, name=project.name, slug=project.slug),
        )

    return routes
