"""`tutti`, and `python -m tutti`."""

import sys

from tutti.base.errors import TuttiError
from tutti.cli.main import app
from tutti.cli.output import note
from tutti.cli.server import ApiError


def main() -> None:
    """Exit status: 0 done, 1 refused or not reachable, 2 wrong usage, 130 interrupted."""
    try:
        app(prog_name="tutti")
    except (ApiError, TuttiError) as error:
        note(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
