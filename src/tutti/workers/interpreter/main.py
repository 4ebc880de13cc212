"""The runner's main loop: it reads a request, writes its files, executes its code, and answers `done`."""

import builtins
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from tutti.workers.interpreter import forwarder, home
from tutti.workers.interpreter.channel import Channel
from tutti.workers.interpreter.confine import keep_reserve
from tutti.workers.interpreter.shell import make
from tutti.workers.interpreter.streams import Stream

_BROKEN = 70


def main(settings: dict[str, Any]) -> None:
    """Run the loop with `settings` (see sandboxes/base.py). Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv[:] = [""]
    channel = Channel(settings["output_bytes"], is_sandboxed=settings["is_sandboxed"])
    streams = (Stream("stdout", channel.write), Stream("stderr", channel.write))
    run_cell = make(channel, settings)
    home.prepare()
    if settings["proxy"] is not None:
        forwarder.start(settings["proxy"]["socket"], settings["proxy"]["port"])
    gc.freeze()
    gc.enable()
    channel.start()
    try:
        _serve(channel, run_cell, streams)
    except BaseException:  # the code broke what the runner needs
        os._exit(_BROKEN)
    os._exit(0)


def _serve(channel: Channel, run_cell: Callable[[str], object], streams: tuple[Stream, Stream]) -> None:
    own, names = os.getpid(), builtins.__dict__
    original = names.copy()
    while (request := channel.receive()) is not None:
        try:
            try:
                sys.stdout, sys.stderr = streams
                keep_reserve(True)
                channel.begin()
                if home.receive(request["files"], channel.error):
                    run_cell(request["code"])
            finally:
                names.update(original)  # the code may have replaced builtins that the runner needs
                channel.calm()
        except BaseException:  # also KeyboardInterrupt
            channel.calm()
            channel.error(traceback.format_exc())
        if os.getpid() != own:
            os._exit(0)  # the code forked, and this is the child
        keep_reserve(False)
        channel.end()
