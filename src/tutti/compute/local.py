"""Programs as child processes of this one, reached on the loopback address."""

import socket
from pathlib import Path

from tutti.base.program import Program
from tutti.process.child import Child, inherited_env

GRACE_S = 5.0
"""From SIGTERM to SIGKILL."""


class LocalHandle(Child):
    """A child process that serves HTTP."""

    address = ""


class Local:
    """The driver for the machine on which this process runs."""

    host = "127.0.0.1"

    def free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            return int(probe.getsockname()[1])

    async def start(self, program: Program, log: Path, gpus: tuple[int, ...]) -> LocalHandle:
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = _environment(program, gpus)
        handle = await LocalHandle.start(program.argv, environment, log=log, grace_s=GRACE_S)
        handle.address = f"http://{self.host}:{program.port}"
        return handle


def _environment(program: Program, gpus: tuple[int, ...]) -> dict[str, str]:
    visible = ",".join(str(gpu) for gpu in gpus)
    return {**inherited_env(), "CUDA_VISIBLE_DEVICES": visible, "PYTHONUNBUFFERED": "1", **program.env}
