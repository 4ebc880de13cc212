"""The job that makes a toy."""

from tutti.http.inside import Inside
from tutti.jobs.args import Args
from tutti.jobs.job import Job
from tutti.jobs.kind import Kind
from tutti.platform import Platform

KIND = "toy"


class ToyArgs(Args, frozen=True, kw_only=True):
    size: int


def toy(_platform: Platform, _inside: Inside) -> Kind[ToyArgs]:
    async def run(job: Job[ToyArgs]) -> None:
        """Save the size. Saving it again changes nothing."""
        await job.save(size=job.args.size)

    return Kind(KIND, ToyArgs, run, limit=2, project_limit=1)
