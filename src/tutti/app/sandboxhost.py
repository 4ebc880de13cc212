"""The sandbox host: the process that keeps the code interpreter's sessions, for all API workers of a node.
Run as `python -m tutti.app.sandboxhost NODE_ID`, with the settings in the environment. It leaves when there
have been no sessions for a while."""

import asyncio
import contextlib
import logging
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy.exc import SQLAlchemyError

from tutti.base.clock import monotonic_s
from tutti.base.errors import TuttiError
from tutti.base.settings import Settings
from tutti.base.shares import Shares
from tutti.meeting import sandbox_hosts
from tutti.node.room import default_budget_bytes
from tutti.parts.sandboxes import drivers
from tutti.process import logs
from tutti.sandboxes import environment, host
from tutti.sandboxes.base import Limits
from tutti.sandboxes.pool import Pool
from tutti.sandboxes.probe import choose
from tutti.sandboxes.sessions import Sessions
from tutti.store.db import Database, database_url

IDLE_S = 600.0
_LOOK_S = 0.5
_MORE_THAN_A_BODY = 64 * 1024
"""Room for the fields of a call besides the client's body."""
log = logging.getLogger(__name__)


async def run(settings: Settings, node_id: str, idle_s: float = IDLE_S) -> None:
    """Serve until there have been no sessions for `idle_s`, or SIGTERM or SIGINT. The controller has brought
    the database up to date."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    database = await Database.open(database_url(settings))
    try:
        await _until(stopped, _serve(settings, database, node_id, idle_s))
    finally:
        await database.close()


async def _until(stopped: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    working, asked = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    await asyncio.wait([working, asked], return_when=asyncio.FIRST_COMPLETED)
    for task in (working, asked):
        task.cancel()
    await asyncio.wait([working, asked])
    if not working.cancelled():
        working.result()


async def _serve(settings: Settings, database: Database, node_id: str, idle_s: float) -> None:
    """Serve sessions. An error that keeps the host from working is written into its row."""
    try:
        folder = await _environment(settings, database, node_id)
        async with _opened(settings, folder) as sessions:
            token = secrets.token_hex(32)
            size = settings.max_body_bytes + _MORE_THAN_A_BODY
            async with host.serving(sessions, token, size) as address:
                await sandbox_hosts.write(database, node_id, "ready", address=address, token=token)
                await _idle(sessions, idle_s)
                sessions.leave()
                await sandbox_hosts.remove(database, node_id)
    except (TuttiError, OSError) as error:
        log.error("the code interpreter cannot work here", extra={"cause": str(error)})
        await sandbox_hosts.write(database, node_id, "failed", detail=_detail(error))


def _detail(error: TuttiError | OSError) -> str:
    """Return the error's text without the paths of this machine, which only the log has."""
    if isinstance(error, TuttiError):
        return error.message
    return f"The code interpreter could not be started: {error.strerror}. The server's log says where."


async def _environment(settings: Settings, database: Database, node_id: str) -> Path:
    """Make the sessions' environment if need be, and report the progress in the host's row."""
    folder = environment.environment_folder(settings.data_dir)
    reporting = asyncio.create_task(_report(database, node_id, folder))
    try:
        return await environment.make(settings.data_dir)
    finally:
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)


async def _report(database: Database, node_id: str, folder: Path) -> None:
    reported = None
    while True:
        detail = (
            "" if environment.is_made(folder) else f"its environment: {environment.read_progress(folder)}"
        )
        if detail != reported:
            with contextlib.suppress(SQLAlchemyError, OSError):
                await sandbox_hosts.write(database, node_id, "preparing", detail=detail)
                reported = detail
        await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def _opened(settings: Settings, folder: Path) -> AsyncGenerator[Sessions]:
    limits = _limits(settings)
    with environment.hold(folder):
        driver = await choose(drivers(settings), folder, limits)
        pool = Pool(
            driver, folder, limits, most=settings.interpreter_sessions, spare=settings.interpreter_warm
        )
        try:
            await pool.fill()
            sessions = Sessions(
                pool,
                Shares.of(settings.interpreter_sessions, settings.interpreter_project_sessions),
                lifetime_s=settings.interpreter_session_s,
                memory_bytes=_total_memory_bytes(settings),
                networked=settings.interpreter_network,
            )
            try:
                yield sessions
            finally:
                await sessions.close()
        finally:
            await pool.close()


def _limits(settings: Settings) -> Limits:
    return Limits(
        memory_bytes=settings.interpreter_memory_bytes,
        processes=settings.interpreter_processes,
        disk_bytes=settings.interpreter_disk_bytes,
        output_bytes=settings.interpreter_output_bytes,
        time_s=settings.interpreter_time_s,
        cpu_s=settings.interpreter_cpu_s,
    )


def _total_memory_bytes(settings: Settings) -> int:
    """Return the memory of all sessions together: at least what one session may have. The models have the
    other four fifths."""
    total = settings.interpreter_total_memory_bytes or default_budget_bytes() // 4
    return max(total, settings.interpreter_memory_bytes)


async def _idle(sessions: Sessions, idle_s: float) -> None:
    """Return when there have been no sessions for `idle_s`."""
    used_at = monotonic_s()
    while monotonic_s() - used_at < idle_s:
        await asyncio.sleep(_LOOK_S)
        if sessions.in_use:
            used_at = monotonic_s()


def main() -> int:
    settings = Settings()  # pyright: ignore[reportCallIssue] # the environment has the values
    logs.configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings, sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
