"""Waiting for what goes on at the server whether anybody waits or not."""

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
    """What `look` found last. Says how far it is in one line on a terminal, elsewhere in a line for each
    status. Ctrl-C ends only the waiting: `later` is the command that asks again."""
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
        note(f"it goes on without you: `{later}` says how far it is")
        raise typer.Exit(130) from None
