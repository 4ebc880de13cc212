"""Finds the project and the organisation of the caller, and lists projects."""

from sqlalchemy import select

from tutti.access.caller import Caller
from tutti.features.account.schemas import ProjectInfo, ProjectList
from tutti.features.paging import cut
from tutti.store.db import Database
from tutti.store.records import Organization, Project


async def owner(database: Database, caller: Caller) -> tuple[Organization, Project]:
    """Return the organisation and the project of the caller."""
    query = (
        select(Organization, Project)
        .join(Project, Project.organization_id == Organization.id)
        .where(Project.id == caller.project_id)
    )
    async with database.read() as session:
        row = (await session.execute(query)).one()
    return row[0], row[1]


async def list_projects(database: Database, caller: Caller, after: str, limit: int) -> ProjectList:
    """Return a page of the projects of the caller's organisation, in the order of their ids."""
    query = (
        select(Project, Organization)
        .join(Organization, Organization.id == Project.organization_id)
        .where(Project.organization_id == caller.organization_id, Project.id > after)
        .order_by(Project.id)
        .limit(limit + 1)
    )
    async with database.read() as session:
        rows = (await session.execute(query)).all()
    page = cut([_project_info(row[0], row[1]) for row in rows], limit)
    return ProjectList(object="list", data=[*page.rows], next_cursor=page.cursor(lambda project: project.id))


def _project_info(project: Project, organization: Organization) -> ProjectInfo:
    return ProjectInfo(
        id=project.id,
        name=project.name,
        slug=project.slug,
        organization_id=organization.id,
        organization_name=organization.name,
    )
