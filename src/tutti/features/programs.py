"""Programs that jobs run to their end, each as a child process: what is in a client's file can at worst
break that. They take archives apart, convert weights and check them."""

from pathlib import Path

from tutti.jobs.errors import Failed
from tutti.process.child import Child, inherited_env, worker_argv

_LONGEST = 2000


async def run_worker(name: str, *arguments: str | Path, log: Path, prefix: str) -> None:
    """Run a program of `workers/` to its end. Raise Failed as `run` does."""
    await run(*worker_argv(name, *arguments), log=log, prefix=prefix)


async def run(*argv: str | Path, log: Path, prefix: str) -> None:
    """Run the program to its end; its output goes to `log`. Raise Failed with `prefix` and its last line
    unless it succeeds. Cancelled, end the program."""
    env = {**inherited_env(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = await Child.start(tuple(map(str, argv)), env, log=log)
    try:
        status = await child.wait()
    finally:
        child.kill()
    if status != 0:
        raise Failed(f"{prefix}: {_reason(log, status)}")


def _reason(log: Path, status: int) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    if status == 1 and lines and not lines[0].startswith("Traceback"):
        return lines[-1][:_LONGEST]
    return "the program that reads it ended" + (" for lack of memory" if status == 137 else " unexpectedly")
