"""Requests of jobs wait for those of clients.

Where an engine's requests take compute from one another, `Engine.shares` names that compute. As long as
clients' requests for it run or wait, every API worker says so ten times a second, and at once for the first
one, by a datagram to each job worker of the node. A job worker begins nothing on compute that was named in
the last LINGER_S, and breaks off what it has there: the job asks again, and waits. Nobody adds up anything,
so neither a lost datagram nor a killed API worker does lasting harm.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Protocol

from tutti.base.model import Model
from tutti.engines.base import Engine, Upstream

PREEMPTED = "preempted"
"""Code of the error of a request that was broken off."""
BEAT_S = 0.1
LINGER_S = 0.5
LOOK_S = 0.5
"""How often an API worker looks for new job workers."""
_LONGEST_PATH = 90
"""Of a socket's name, most systems take a little over 100 bytes."""


class Turn(Protocol):
    """One request's part in the traffic, from before it waits for a slot until it is done."""

    def upstream(self, upstream: Upstream) -> Upstream: ...

    def end(self) -> None: ...


class Traffic(Protocol):
    """Clients' requests as `Announcer` sees them, jobs' requests as `Listener` does."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def begin(self, engine: Engine, model: Model) -> Turn: ...


def meeting_place(data_dir: Path) -> Path:
    """The folder of the job workers' sockets."""
    folder = data_dir.absolute() / "run"
    if len(os.fsencode(folder)) <= _LONGEST_PATH - 30:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tutti-{os.getuid()}-{name}"
