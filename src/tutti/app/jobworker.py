"""The job worker: one process that works off the queue, and leaves when there has been nothing to do for a
while. Run as `python -m tutti.app.jobworker`, with the settings in the environment."""

import asyncio
import signal
import sys

import uvloop

from tutti.app.platform import open_database, open_platform
from tutti.base.settings import Settings
from tutti.http import server
from tutti.jobs.worker import Pace, Worker
from tutti.parts.features import FEATURES
from tutti.parts.jobs import JOB_KINDS
from tutti.parts.schedule import SCHEDULE
from tutti.process import logs

IDLE_S = 30.0


async def run(settings: Settings) -> None:
    """Work until there is nothing to do, or SIGTERM or SIGINT; unfinished jobs are then handed back."""
    async with (
        open_database(settings) as database,
        open_platform(settings, database, background=True) as platform,
    ):
        inside = server.inside([router(platform) for router in FEATURES], settings)
        kinds = [kind(platform, inside) for kind in JOB_KINDS]
        worker = Worker(database, kinds, Pace(lease_s=settings.job_lease_s), SCHEDULE)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        await worker.run(IDLE_S)


def main() -> int:
    settings = Settings()  # pyright: ignore[reportCallIssue] # the environment has the values
    logs.configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
