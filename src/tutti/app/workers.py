"""The API workers: as many processes as the settings say, each started again when it ends."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from tutti.app.environment import environment
from tutti.app.standstill import log_ended
from tutti.base.settings import Settings
from tutti.process.child import Child
from tutti.process.supervisor import Pace, Start, Supervisor

_GRACE_S = 2.0
"""Time on top of the drain, for closing the database and the like."""


async def start_workers(settings: Settings) -> Supervisor:
    """Start the API workers. Returns once each has been started for the first time."""
    metrics = _metrics(settings)
    metrics.mkdir(exist_ok=True)
    for file in metrics.glob("*.db"):
        file.unlink()
    start = _starter(worker_env(settings), settings, settings.drain_timeout_s + _GRACE_S)
    supervisor = Supervisor("api worker", start, settings.workers, Pace())
    await supervisor.started()
    return supervisor


def worker_env(settings: Settings) -> Mapping[str, str]:
    """Return the environment of API workers and job workers: with the settings, and the folder of their
    common metrics."""
    counts = {"PROMETHEUS_MULTIPROC_DIR": str(_metrics(settings))}
    return {**os.environ, **environment(settings), **counts}


def _metrics(settings: Settings) -> Path:
    return settings.data_dir / "metrics"


def _starter(env: Mapping[str, str], settings: Settings, grace_s: float) -> Start:
    async def start() -> Child:
        _forget_ended(_metrics(settings))
        log_ended(settings.data_dir)
        return await Child.start((sys.executable, "-m", "tutti.app.api"), env, grace_s=grace_s)

    return start


def _forget_ended(metrics: Path) -> None:
    """Delete the gauges of API workers that were killed: their requests would count as running for ever."""
    for file in metrics.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            file.unlink(missing_ok=True)
