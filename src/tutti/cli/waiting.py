"""Waiting for a job on the server. The job goes on whether anybody waits or not."""

import sys
import time
from collections.abc import Callable

import typer
from rich.console import Console
from rich.markup import escape

from tutti.cli.http import Json
from tutti.cli.output import note

_FIRST_LOOK_S = 0.1
_LONGEST_LOOK_S = 1.0


def wait_until(
    is_over: Callable[[Json], bool], look: Callable[[], Json], described: Callable[[Json], str], later: str
) -> Json:
    """Call `look` until `is_over`, and return what it found last.

    Progress is one line that changes on a terminal; elsewhere each status is printed once. Ctrl-C ends only
    the waiting: `later` is the command that shows the progress then."""
    console = Console(stderr=True)
    pause_s, status = _FIRST_LOOK_S, ""
    try:
        with console.status("...") as line:
            while not is_over(found := look()):
                line.update(escape(described(found)))
                if found["status"] != status and not console.is_terminal:
                    note(str(found["status"]))
                status = found["status"]
                time.sleep(pause_s)
                pause_s = min(_LONGEST_LOOK_S, pause_s * 1.5)
            return found
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        note(f"the job goes on: `{later}` shows its progress")
        raise typer.Exit(130) from None
