"""The job that makes a toy, on a workload of its own."""

import asyncio

from tutti.http.inside import Inside
from tutti.jobs.args import Args
from tutti.jobs.job import Job
from tutti.jobs.kind import Kind
from tutti.meeting.router import replicas_of
from tutti.meeting.wants import Key, Wanted, want
from tutti.platform import Platform
from tutti.store.db import Database

KIND = "toy"
_LOOK_S = 0.1


class ToyArgs(Args, frozen=True, kw_only=True):
    size: int


def toy(platform: Platform, _inside: Inside) -> Kind[ToyArgs]:
    async def run(job: Job[ToyArgs]) -> None:
        """Want a program, and save where it runs. Running it again wants the same program."""
        key = Key(job.id, job.project_id, KIND)
        await want(platform.database, Wanted(key, {"model": "toy"}))
        await job.save(size=job.args.size, address=await _address(platform.database, key))

    return Kind(KIND, ToyArgs, run, limit=2, project_limit=1)


async def _address(database: Database, key: Key) -> str:
    while True:
        for replica in await replicas_of(database, key):
            if replica.state == "ready":
                return replica.address
        await asyncio.sleep(_LOOK_S)
