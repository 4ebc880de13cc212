"""THE table of the ways to sandbox code, in the order in which they are tried."""

from collections.abc import Sequence

from tutti.base.settings import Settings
from tutti.sandboxes.base import Driver
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.container import Container
from tutti.sandboxes.runsc import Runsc
from tutti.sandboxes.unsafe import UnsafeSubprocess

DRIVERS: Sequence[Driver] = (Bubblewrap(), Runsc(), Container("podman"), Container("docker"))
UNSAFE: Driver = UnsafeSubprocess()


def drivers(settings: Settings) -> Sequence[Driver]:
    """Return the drivers that the settings allow, best first."""
    name = settings.interpreter_driver
    chosen = [driver for driver in DRIVERS if name in ("", driver.name)]
    return [*chosen, UNSAFE] if settings.interpreter_unsafe_subprocess else chosen
