"""Programs as child processes of this one."""

from pathlib import Path

from tutti.base.program import Program
from tutti.process.child import Child, inherited_env

GRACE_S = 5.0
"""From SIGTERM to SIGKILL."""


class Local:
    async def start(self, program: Program, log: Path, gpus: tuple[int, ...]) -> Child:
        log.parent.mkdir(parents=True, exist_ok=True)
        return await Child.start(program.argv, _environment(program, gpus), log=log, grace_s=GRACE_S)


def _environment(program: Program, gpus: tuple[int, ...]) -> dict[str, str]:
    visible = ",".join(str(gpu) for gpu in gpus)
    return {**inherited_env(), "CUDA_VISIBLE_DEVICES": visible, "PYTHONUNBUFFERED": "1", **program.env}
