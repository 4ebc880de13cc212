"""No sandbox at all: a plain child process that can do whatever the server can.

It is for your own code, where nothing else works. Limits hold only as far as a process cannot get around
them, and the code uses this machine's network."""

import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tutti.base.errors import CannotSandbox
from tutti.sandboxes.base import HOME, RUNNER, Box, Spec, runner_argv, runner_env
from tutti.sandboxes.box import ProcessBox, signal_to, tree

_ANY_NUMBER = 1_000_000
"""Limit on processes that is never reached. The kernel counts all of an ordinary user's together, the
server's own included."""


class UnsafeSubprocess:
    name = "unsafe-subprocess"

    async def start(self, spec: Spec) -> Box:
        home = Path(tempfile.mkdtemp(prefix="tutti-session-"))
        limits = replace(spec.limits, processes=_ANY_NUMBER)
        spec = replace(spec, uid=None, proxy=None, limits=limits)
        env = {name: value.replace(HOME, str(home)) for name, value in runner_env(spec).items()}
        try:
            box = await _Subprocess.start(runner_argv(spec, str(RUNNER), is_sandboxed=False), env=env)
        except OSError as error:
            shutil.rmtree(home, ignore_errors=True)
            raise CannotSandbox(f"{spec.environment}/bin/python cannot be started: {error}.") from error
        box.home = home
        return box


class _Subprocess(ProcessBox):
    """The runner and its descendants, as far as they can be found."""

    home: Path

    def interrupt(self) -> None:
        if self.is_alive:
            signal_to(self.pid, signal.SIGINT)

    def kill(self) -> None:
        for pid in self.pids():
            signal_to(pid, signal.SIGKILL)

    async def wait(self) -> int:
        code = await super().wait()
        shutil.rmtree(self.home, ignore_errors=True)
        return code

    def pids(self) -> Sequence[int]:
        return [self.pid, *tree(self.pid)] if self.is_alive else ()

    def files(self) -> int:
        return 0
