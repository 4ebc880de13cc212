"""Choice of the sandbox driver: the first one that runs code correctly on this machine."""

import os
from collections.abc import Sequence
from pathlib import Path

from tutti.base.errors import CannotSandbox
from tutti.sandboxes.base import Driver, Limits, Spec
from tutti.sandboxes.session import Output, Session, SessionDied
from tutti.sandboxes.uids import Uids

_CODE = "print(6 * 7)"
_ANSWER = [Output("stdout", "42\n")]


async def choose(drivers: Sequence[Driver], environment: Path, limits: Limits) -> Driver:
    """Return the first driver that works. Raise CannotSandbox with each driver's reason if none does."""
    reasons: list[str] = []
    for driver in drivers:
        try:
            await _try(driver, environment, limits)
            return driver
        except CannotSandbox as error:
            reasons.append(f"{driver.name}: {error.message}")
    raise CannotSandbox(f"The code interpreter needs a sandbox, and none works here. {' '.join(reasons)}")


async def _try(driver: Driver, environment: Path, limits: Limits) -> None:
    uid = Uids(1).take() if os.geteuid() == 0 else None
    session = await Session.start(driver, Spec(environment, limits, uid))
    try:
        if (outputs := await session.execute(_CODE)) != _ANSWER:
            raise CannotSandbox(f"It started, but {_CODE} gave {outputs}.")
    except SessionDied as error:
        raise CannotSandbox(f"It started, but then: {error.reason}") from error
    finally:
        await session.close()
