"""Toys are the jobs that make them."""

from tutti.base.errors import NotFound
from tutti.features.toy.job import KIND, ToyArgs
from tutti.features.toy.schemas import Toy
from tutti.jobs.queue import enqueue
from tutti.platform import Platform
from tutti.store.records import JobRow


async def create(platform: Platform, project_id: str, size: int) -> Toy:
    async with platform.database.begin() as session:
        id = await enqueue(session, KIND, ToyArgs(size=size), project_id=project_id)
    return await retrieve(platform, project_id, id)


async def retrieve(platform: Platform, project_id: str, id: str) -> Toy:
    """Raise NotFound for what is no toy of this project."""
    async with platform.database.read() as session:
        row = await session.get(JobRow, id)
    if row is None or row.project_id != project_id or row.kind != KIND:
        raise NotFound(f"There is no toy {id!r}.", param="id")
    return Toy(
        id=row.id, status=row.status, size=row.state.get("size", 0), address=row.state.get("address", "")
    )
