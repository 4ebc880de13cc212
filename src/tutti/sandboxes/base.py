"""The types that all sandbox drivers share: a sandbox's limits, its specification, and its handle."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

MIB = 1024 * 1024
HOME = "/home/user"
UID_INSIDE = 1000
"""The code's user id inside the sandbox, if `Spec.uid` is None."""
SHARED_MEMORY_BYTES = 64 * MIB
"""The size of /dev/shm. Semaphores and arrays of multiprocessing are kept there."""
RUNNER = Path(__file__).parent.parent / "workers" / "interpreter"
"""The folder of the program that runs inside. The sandbox has its files at RUNNER_AT."""
RUNNER_AT = "/run/runner/tutti/workers/interpreter"
PROXY_AT = "/run/proxy.sock"
"""The path in the sandbox of the socket `Spec.proxy`, if there is one."""
PROXY_PORT = 3128
"""The loopback port in the sandbox at which the code reaches the proxy."""
PACKAGES = f"{HOME}/.packages"
"""The folder that `pip install` writes to, since the environment is read-only."""
_START = """
import gc, json, sys
gc.disable()  # until the runner is ready: nothing that is loaded is garbage
config = json.loads(sys.argv[1])
path, sys.path[:] = sys.path[:], [config["runner"], *sys.path]
from tutti.workers.interpreter.confine import confine
confine(config)
from tutti.workers.interpreter.main import main
sys.path[:] = path
main(config)
"""


@dataclass(frozen=True)
class Limits:
    """Limits of one session. `output_bytes`, `time_s` (wall time) and `cpu_s` (CPU time of all processes)
    limit a single execution."""

    memory_bytes: int = 1024 * MIB
    processes: int = 64
    """Threads count as processes, as in the kernel."""
    disk_bytes: int = 256 * MIB
    """Limit of the home directory and /tmp together."""
    output_bytes: int = 8 * MIB
    time_s: float = 50.0
    cpu_s: float = 120.0


@dataclass(frozen=True)
class Spec:
    environment: Path
    """A virtual environment with IPython. Its Python runs the code."""
    limits: Limits
    uid: int | None
    """A user id that no other live session has. Required if the server runs as root, None otherwise."""
    proxy: Path | None = None
    """UNIX socket of an HTTP proxy. The code can reach nothing else over the network. Any user who can open
    the socket's path must be allowed to connect to it (mode 0666)."""


class Box(Protocol):
    """A running sandbox. Its runner (the program that executes the code) reads requests from `writer` and
    sends its answers to `reader`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def interrupt(self) -> None:
        """Send SIGINT to the runner, but not to its children."""
        ...

    def kill(self) -> None:
        """Kill everything in the sandbox immediately. Calling it again, or after the end, does nothing."""
        ...

    async def wait(self) -> int:
        """Wait until no process is left in the sandbox. Return the runner's exit status, or 128 + n if signal
        n ended it."""
        ...

    def pids(self) -> Sequence[int]:
        """Return the process ids of all processes in the sandbox, as this machine numbers them."""
        ...

    def files(self) -> int:
        """Return the number of files in the home directory and /tmp, or 0 if something else limits it."""
        ...

    def complaint(self) -> str:
        """Return what the sandbox program printed to stderr: why it did not start. Call it after the end."""
        ...

    def close(self) -> None:
        """Close `reader` and `writer`. Call it after the sandbox has ended."""
        ...


class Driver(Protocol):
    name: str

    async def start(self, spec: Spec) -> Box:
        """Start a sandbox. Raise CannotSandbox if that fails. The runner may not be ready yet when this
        returns: `Session.start` waits for it."""
        ...


def python_folders(environment: Path) -> list[Path]:
    """Return the folders that Python needs: the environment, and bin and lib of the Python that made it.

    A Python in /usr needs no folders of its own, since sandboxes have /usr. Only single folders of the prefix
    are returned, because the prefix can be a user's ~/.local."""
    base = (environment / "bin" / "python").resolve().parent.parent
    parts = [] if base.is_relative_to("/usr") else [base / name for name in ("bin", "lib", "lib64")]
    return [*(part for part in parts if part.is_dir()), environment]


def runner_files() -> list[Path]:
    return sorted(RUNNER.glob("*.py"))


def runner_argv(
    spec: Spec, runner_at: str = RUNNER_AT, *, is_sandboxed: bool = True, seccomp: bytes = b""
) -> list[str]:
    """Return the command that runs in the sandbox. Its stdin and stdout are the pipes of the protocol.

    `is_sandboxed`: the code runs as an unprivileged user and sees only its own processes, so an interrupt may
    end all the others. `seccomp`: a filter that the runner installs on itself, if the driver can't do it."""
    limits = spec.limits
    config = {
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
    return [str(spec.environment / "bin" / "python"), "-I", "-c", _START, json.dumps(config)]


def runner_env(spec: Spec) -> dict[str, str]:
    """Return all environment variables of the code."""
    proxy = f"http://127.0.0.1:{PROXY_PORT}"
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY") if spec.proxy else ()
    return {
        "HOME": HOME,
        "USER": "user",
        "PATH": f"{spec.environment}/bin:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108 (the sandbox's own)
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        # One thread each: all sessions share the CPUs, and a thread counts as a process.
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
    """Format a number of bytes in MiB, or in KiB if it is less than one MiB."""
    return f"{size / MIB:g} MiB" if size >= MIB else f"{size / 1024:g} KiB"
