"""Real sandboxes for tests."""

import itertools
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.environment import made
from tests.support.weights import cache_dir

from tutti.sandboxes.base import Driver, Limits, Spec
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.environment import environment_folder, is_made
from tutti.sandboxes.session import Output, Session

_uids = itertools.count(1_000_000_000 + os.getpid() * 200)
"""Apart from those of a test process beside this one, whose id is near, and below those of servers."""


def environment() -> Path:
    """Make the environment if needed, and return its folder. It works inside an event loop, too."""
    folder = environment_folder(cache_dir())
    if is_made(folder):
        return folder
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(made).result()


def spec(**limits: Any) -> Spec:
    return Spec(environment(), Limits(**limits), next(_uids) if os.geteuid() == 0 else None)


@asynccontextmanager
async def started(driver: Driver | None = None, **limits: Any) -> AsyncIterator[Session]:
    session = await Session.start(driver or Bubblewrap(), spec(**limits))
    try:
        yield session
    finally:
        await session.close()


def text(outputs: Sequence[Output], kind: str = "stdout") -> str:
    return "".join(str(it.data) for it in outputs if it.type == kind)


async def printed(session: Session, code: str) -> str:
    """Execute code and return what it prints; it must have no other outputs."""
    outputs = await session.execute(code)
    assert {it.type for it in outputs} <= {"stdout"}, outputs
    return text(outputs)
