# pyright: basic, reportMissingImports=false
# IPython is there in the sandbox only, and comes without types.
"""IPython without a terminal. Whatever it displays goes to the channel."""

import base64
import builtins
import errno
import getpass
import os
import socket
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from IPython.core import interactiveshell
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tutti.workers.interpreter.channel import Channel
from tutti.workers.interpreter.confine import keep_reserve

_OWN = str(Path(__file__).parent)
_IPYTHON = interactiveshell.__file__


class _Results(DisplayHook):
    """Sends the value of a cell's last expression."""

    def start_displayhook(self) -> None:
        pass

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict[str, Any], *_: Any) -> None:
        if format_dict:
            self.shell.channel.show("execute_result", _written(format_dict))

    def finish_displayhook(self) -> None:
        pass


class _Displays(DisplayPublisher):
    """Sends what the code displays: plots, tables."""

    def publish(self, data: dict[str, Any], *_: Any, **__: Any) -> None:
        self.shell.channel.show("display_data", _written(data))

    def clear_output(self, wait: bool = False) -> None:
        """Do nothing: output that was sent cannot be taken back."""


class Shell(InteractiveShell):
    """IPython's shell, which sends results, displays and errors to the channel."""

    displayhook_class = _Results
    display_pub_class = _Displays
    system = InteractiveShell.system_raw

    def __init__(self, channel: Channel, settings: dict[str, Any]) -> None:
        self.channel = channel
        self._settings = settings
        super().__init__(config=_config())
        self.set_hook("show_in_pager", _page)

    def showtraceback(
        self,
        exc_tuple: Any = None,
        *_: Any,
        tb_offset: int | None = None,
        running_compiled_code: bool = False,
        **__: Any,
    ) -> None:
        """Send the traceback once, as an error. IPython's own method may print to stderr instead."""
        keep_reserve(False)
        try:
            kind, error, trace = self._get_exc_info(exc_tuple)
        except ValueError:
            self.channel.write("stderr", "There was no error.\n")
            return
        if kind is UsageError:
            self.show_usage_error(error)
            return
        extent = None if running_compiled_code else 0
        self._showtraceback(kind, error, self._formatted(kind, error, trace, tb_offset, extent))

    def _formatted(
        self, kind: type, error: BaseException, trace: Any, offset: int | None, extent: int | None
    ) -> list[str]:
        try:
            if _has_group(error):
                return traceback.format_exception(kind, error, _without_ipython(trace))
            if issubclass(kind, SyntaxError):
                where = traceback.extract_tb(trace, extent)
                return self.SyntaxTB.structured_traceback(kind, error, where)
            if rendered := getattr(error, "_render_traceback_", None):
                return [str(line) for line in rendered()]
            return self.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=offset)
        except BaseException:  # methods of the code's error may fail, or memory or open files are used up
            return traceback.format_exception(kind, error, _without_ipython(trace))

    def _format_exception_for_storage(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Return nothing: the stored form is never used, and the methods of the code's error may fail."""
        return {}

    def _get_exc_info(self, exc_tuple: Any = None) -> Any:
        kind, error, trace = super()._get_exc_info(exc_tuple)
        _hide_runner(trace)
        return kind, error, trace

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        if issubclass(etype, SystemExit):
            if (status := getattr(evalue, "code", None)) not in (None, 0):
                self.channel.error(f"SystemExit: {status}")
            return
        self.channel.error("\n".join([*stb, *_hints(evalue, self._settings)]))

    def show_usage_error(self, exc: BaseException) -> None:
        """Send the error of a magic command."""
        self.channel.error(f"UsageError: {exc}")

    def enable_gui(self, gui: str | None = None) -> None:
        """Do nothing: there is no screen, and `%matplotlib inline` needs none."""

    def ask_exit(self) -> None:
        """End the code, but not the session, on `exit` and `quit`."""
        raise SystemExit(0)


def make(channel: Channel, settings: dict[str, Any]) -> Callable[[str], object]:
    """Set up IPython, and return the function that runs a cell."""
    warnings.filterwarnings("ignore", message="To exit: use 'exit'")
    warnings.filterwarnings(
        "ignore", message="You executed the system command"
    )  # `!pip` is the right pip here
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
    builtins.input = getpass.getpass = _no_input
    os.system = _system
    shell = Shell.instance(channel=channel, settings=settings)
    return lambda code: shell.run_cell(code, store_history=True)


def _config() -> Config:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    return config


def _no_input(*_: Any, **__: Any) -> str:
    raise EOFError(
        "Nobody can answer: the code interpreter has no input. Put values into the code, or into files."
    )


def _page(_shell: Shell, data: Any, **_: Any) -> None:
    sys.stdout.write(f"{data['text/plain'] if isinstance(data, dict) else data}\n")


def _hide_runner(trace: TracebackType | None) -> None:
    """Remove the runner's frames from the end of a traceback."""
    last = None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_OWN):
            last = trace
        trace = trace.tb_next
    if last is not None:
        last.tb_next = None


def _without_ipython(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without IPython's frames at its beginning."""
    while trace is not None and trace.tb_frame.f_code.co_filename == _IPYTHON and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _has_group(error: BaseException) -> bool:
    """Return True if the error, or one in its chain, is an exception group, which IPython cannot format."""
    return any(isinstance(it, BaseExceptionGroup) for it in _chain(error))


def _system(command: str | bytes) -> int:
    """Run a shell command and return its wait status, as os.system does.

    This one can be interrupted: the C library's ignores SIGINT while it waits.
    """
    code = subprocess.call(command, shell=True)  # noqa: S602 (it is what os.system does)
    return code << 8 if code >= 0 else -code


def _written(data: dict[str, Any]) -> dict[str, Any]:
    return {mime: base64.b64encode(v).decode() if isinstance(v, bytes) else v for mime, v in data.items()}


def _hints(error: BaseException, settings: dict[str, Any]) -> list[str]:
    """Return the limit that caused the error, if one did: Python's own messages do not name it."""
    mib = 1024 * 1024
    disk = (
        f"The session may keep {settings['disk_bytes'] // mib} MiB in its home directory and /tmp together."
    )
    network = "The code interpreter has no network here."
    processes = f"The session may have {settings['processes']} processes and threads."
    memory = f"The session has {settings['memory_bytes'] // mib} MiB of memory."
    by_number = {
        errno.ENOSPC: disk,
        errno.EFBIG: disk,
        errno.EAGAIN: processes,
        errno.ENOMEM: memory,
        errno.EMFILE: "The open files of a process are limited.",
        errno.ENETUNREACH: network,
    }
    if settings["proxy"] is None and any(isinstance(it, socket.gaierror) for it in _chain(error)):
        return [network]
    if isinstance(error, MemoryError):
        return [memory]
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return [processes]
    return [by_number[error.errno]] if isinstance(error, OSError) and error.errno in by_number else []


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes, at most 10, since a chain can be a ring.

    Libraries wrap errors in their own.
    """
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
