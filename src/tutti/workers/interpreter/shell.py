# pyright: basic, reportMissingImports=false
# IPython is there in the sandbox only, and comes without types.
"""IPython without a terminal: what it displays goes to the channel."""

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
    def publish(self, data: dict[str, Any], *_: Any, **__: Any) -> None:
        self.shell.channel.show("display_data", _written(data))

    def clear_output(self, wait: bool = False) -> None:
        """What was put out stays: it is not a screen."""


class Shell(InteractiveShell):
    displayhook_class = _Results
    display_pub_class = _Displays
    system = InteractiveShell.system_raw

    def __init__(self, channel: Channel, told: dict[str, Any]) -> None:
        self.channel = channel
        self._told = told
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
        """Once, as an error. IPython's own prints what it cannot format to stderr instead."""
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
                return traceback.format_exception(kind, error, _own(trace))
            if issubclass(kind, SyntaxError):
                where = traceback.extract_tb(trace, extent)
                return self.SyntaxTB.structured_traceback(kind, error, where)
            if rendered := getattr(error, "_render_traceback_", None):
                return [str(line) for line in rendered()]
            return self.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=offset)
        except BaseException:  # also of the code's own methods; or memory or open files are all used up
            return traceback.format_exception(kind, error, _own(trace))

    def _format_exception_for_storage(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Nobody asks for it later, and the error's own methods may go wrong."""
        return {}

    def _get_exc_info(self, exc_tuple: Any = None) -> Any:
        kind, error, trace = super()._get_exc_info(exc_tuple)
        _cut(trace)
        return kind, error, trace

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        if issubclass(etype, SystemExit):
            if (status := getattr(evalue, "code", None)) not in (None, 0):
                self.channel.error(f"SystemExit: {status}")
            return
        self.channel.error("\n".join([*stb, *_hints(evalue, self._told)]))

    def show_usage_error(self, exc: BaseException) -> None:
        """Of a magic command."""
        self.channel.error(f"UsageError: {exc}")

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no screen; `%matplotlib inline` asks for none."""

    def ask_exit(self) -> None:
        """`exit` and `quit` end the code, not the session."""
        raise SystemExit(0)


def make(channel: Channel, told: dict[str, Any]) -> Callable[[str], object]:
    """What runs a cell."""
    warnings.filterwarnings("ignore", message="To exit: use 'exit'")
    warnings.filterwarnings("ignore", message="You executed the system command")  # that `pip` is this one's
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
    builtins.input = getpass.getpass = _no_input
    os.system = _system
    shell = Shell.instance(channel=channel, told=told)
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


def _cut(trace: TracebackType | None) -> None:
    """The frames at its end that are the runner's."""
    last = None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_OWN):
            last = trace
        trace = trace.tb_next
    if last is not None:
        last.tb_next = None


def _own(trace: TracebackType | None) -> TracebackType | None:
    """Without the frames at its beginning that are IPython's."""
    while trace is not None and trace.tb_frame.f_code.co_filename == _IPYTHON and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _has_group(error: BaseException) -> bool:
    """IPython formats no groups. What was caught before counts too: it is shown with the error."""
    return any(isinstance(it, BaseExceptionGroup) for it in _chain(error))


def _system(command: str | bytes) -> int:
    """os.system that can be interrupted: the C library's ignores SIGINT while it waits. Its wait status."""
    code = subprocess.call(command, shell=True)  # noqa: S602 (it is what os.system does)
    return code << 8 if code >= 0 else -code


def _written(data: dict[str, Any]) -> dict[str, Any]:
    return {mime: base64.b64encode(v).decode() if isinstance(v, bytes) else v for mime, v in data.items()}


def _hints(error: BaseException, told: dict[str, Any]) -> list[str]:
    """Which limit it was: Python's own messages do not say."""
    mib = 1024 * 1024
    disk = f"The session may keep {told['disk_bytes'] // mib} MiB in its home directory and /tmp together."
    network = "The code interpreter has no network here."
    processes = f"The session may have {told['processes']} processes and threads."
    memory = f"The session has {told['memory_bytes'] // mib} MiB of memory."
    by_number = {
        errno.ENOSPC: disk,
        errno.EFBIG: disk,
        errno.EAGAIN: processes,
        errno.ENOMEM: memory,
        errno.EMFILE: "The open files of a process are limited.",
        errno.ENETUNREACH: network,
    }
    if told["proxy"] is None and any(isinstance(it, socket.gaierror) for it in _chain(error)):
        return [network]
    if isinstance(error, MemoryError):
        return [memory]
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return [processes]
    return [by_number[error.errno]] if isinstance(error, OSError) and error.errno in by_number else []


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """It and what it came of: libraries wrap errors in their own. A chain can be a ring."""
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
