"""The interpreter's environment, made once into the cache of the tests.

`python -m tests.support.environment` makes it.
"""

import asyncio
from pathlib import Path

from tests.support.weights import cache_dir

from tutti.sandboxes.environment import environments_folder, make


def made() -> Path:
    """Make the environment if needed, and return its folder. Several tests may call it at once."""
    return asyncio.run(make(cache_dir()))


def lend(data_dir: Path) -> None:
    """Makes it look made in `data_dir`."""
    made()
    environments_folder(data_dir).symlink_to(environments_folder(cache_dir()))


if __name__ == "__main__":
    print(made())
