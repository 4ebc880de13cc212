"""Requests of jobs wait for those of clients.

Where an engine's requests take compute from one another, `Engine.shares` names that compute. As long as
clients' requests for it run or wait, every API worker announces the name ten times a second, and at once for
the first request, by a datagram to each job worker of the node (dispatch/announcer). A job worker begins
nothing on compute that was announced in the last LINGER_S, and breaks off the requests that it has there
(dispatch/listener): the job asks again, and waits. Nobody keeps a sum, so neither a lost datagram nor a
killed API worker does lasting harm.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Protocol

from tutti.base.model import Model
from tutti.engines.base import Engine
from tutti.engines.upstream import Upstream

PREEMPTED = "preempted"
"""The code of the error of a request that was broken off."""
BEAT_S = 0.1
LINGER_S = 0.5
LOOK_S = 0.5
"""How often an API worker looks for new job workers."""
_LONGEST_PATH = 90
"""Most systems limit the path of a socket to a little over 100 bytes."""


class Turn(Protocol):
    """The part of one request in the traffic, from before it waits for a slot until it is done."""

    def upstream(self, upstream: Upstream) -> Upstream: ...

    def end(self) -> None: ...


class Traffic(Protocol):
    """The traffic as a process takes part in it: API workers as `Announcer`, job workers as `Listener`."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def begin(self, engine: Engine, model: Model) -> Turn: ...


def meeting_place(data_dir: Path) -> Path:
    """Return the folder of the job workers' sockets: in the data directory, unless its path is too long for a
    socket."""
    folder = data_dir.absolute() / "run"
    if len(os.fsencode(folder)) <= _LONGEST_PATH - 30:
        return folder
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tutti-{os.getuid()}-{name}"
