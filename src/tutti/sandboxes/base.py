"""What every way of running untrusted code has in common: limits, what is asked for, what one gets."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

MIB = 1024 * 1024
HOME = "/home/user"
UID_INSIDE = 1000
"""Of the code, where it has no `Spec.uid`."""
SHARED_MEMORY_BYTES = 64 * MIB
"""Of /dev/shm: semaphores and arrays of multiprocessing."""
RUNNER = Path(__file__).parent.parent / "workers" / "interpreter"
"""The program that runs inside: its files are to be found in the sandbox at RUNNER_AT."""
RUNNER_AT = "/run/runner/tutti/workers/interpreter"
PROXY_AT = "/run/proxy.sock"
"""Where the sandbox finds `Spec.proxy`, if it has one."""
PROXY_PORT = 3128
"""Where the code finds it, on its loopback."""
PACKAGES = f"{HOME}/.packages"
"""Where `pip install` puts things: the environment is not to be written to."""
_START = """
import gc, json, sys
gc.disable()  # until it is ready: nothing of what is loaded is garbage
told = json.loads(sys.argv[1])
path, sys.path[:] = sys.path[:], [told["runner"], *sys.path]
from tutti.workers.interpreter.confine import confine
confine(told)
from tutti.workers.interpreter.main import main
sys.path[:] = path
main(told)
"""


@dataclass(frozen=True)
class Limits:
    """Of one session; `output_bytes`, `time_s` (wall) and `cpu_s` (all its processes) of one execution."""

    memory_bytes: int = 1024 * MIB
    processes: int = 64
    """Threads count, too: the kernel makes no difference."""
    disk_bytes: int = 256 * MIB
    """The home directory and /tmp together."""
    output_bytes: int = 8 * MIB
    time_s: float = 50.0
    cpu_s: float = 120.0


@dataclass(frozen=True)
class Spec:
    environment: Path
    """A virtual environment that has IPython; its Python runs the code."""
    limits: Limits
    uid: int | None
    """A user id that no other live session has: needed where the server runs as root, None elsewhere."""
    proxy: Path | None = None
    """UNIX socket of an HTTP proxy, which is then all of the network that the code can reach; anybody who
    gets at the socket must be allowed to connect to it (mode 0666)."""


class Box(Protocol):
    """A sandbox whose runner was started. The runner reads requests from `writer` and answers to `reader`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def interrupt(self) -> None:
        """SIGINT to the runner, to none of its children."""
        ...

    def kill(self) -> None:
        """Ends everything in the sandbox, now. May be called again, also after the end."""
        ...

    async def wait(self) -> int:
        """Until nothing is left in the sandbox: the runner's exit status, 128 + n where signal n ended it."""
        ...

    def pids(self) -> Sequence[int]:
        """All processes in the sandbox, by the ids they have outside of it."""
        ...

    def files(self) -> int:
        """How many there are in the home directory and /tmp; 0 where something else limits their number."""
        ...

    def complaint(self) -> str:
        """What the sandbox itself said on stderr, why it did not start: to be asked for after its end."""
        ...

    def close(self) -> None:
        """After its end: `reader` and `writer` can't be used any more."""
        ...


class Driver(Protocol):
    name: str

    async def start(self, spec: Spec) -> Box:
        """Raises CannotSandbox. That this returns does not yet mean that the runner works: see Session."""
        ...


def python_folders(environment: Path) -> list[Path]:
    """The environment, and of the Python that it was made with what it needs: its prefix can be somebody's
    ~/.local. None where that is the system's, in /usr."""
    base = (environment / "bin" / "python").resolve().parent.parent
    parts = [] if base.is_relative_to("/usr") else [base / name for name in ("bin", "lib", "lib64")]
    return [*(part for part in parts if part.is_dir()), environment]


def runner_files() -> list[Path]:
    return sorted(RUNNER.glob("*.py"))


def runner_argv(
    spec: Spec, runner_at: str = RUNNER_AT, *, is_sandboxed: bool = True, seccomp: bytes = b""
) -> list[str]:
    """The command that runs in the sandbox; stdin and stdout are its protocol's pipes. `is_sandboxed`: it is
    nobody, and there are no processes but its own, so that an interrupt may end all the others. `seccomp`: a
    filter that the runner puts on itself, where who starts it can't."""
    limits = spec.limits
    told = {
        "runner": str(PurePosixPath(runner_at).parents[2]),
        "is_sandboxed": is_sandboxed,
        "seccomp": seccomp.hex(),
        "uid": spec.uid,
        "memory_bytes": limits.memory_bytes,
        "processes": limits.processes,
        "disk_bytes": limits.disk_bytes,
        "output_bytes": limits.output_bytes,
        "proxy": {"socket": PROXY_AT, "port": PROXY_PORT} if spec.proxy else None,
    }
    return [str(spec.environment / "bin" / "python"), "-I", "-c", _START, json.dumps(told)]


def runner_env(spec: Spec) -> dict[str, str]:
    """The whole environment of the code."""
    proxy = f"http://127.0.0.1:{PROXY_PORT}"
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY") if spec.proxy else ()
    return {
        "HOME": HOME,
        "USER": "user",
        "PATH": f"{spec.environment}/bin:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108 (the sandbox's own)
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        # One thread each: the CPUs are everybody's, and a thread counts as a process.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "PIP_TARGET": PACKAGES,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **dict.fromkeys(names, proxy),
        **({"NO_PROXY": "localhost,127.0.0.1"} if spec.proxy else {}),
    }


def spelled(size: int) -> str:
    """In MiB where there is one, else in KiB."""
    return f"{size / MIB:g} MiB" if size >= MIB else f"{size / 1024:g} KiB"
