"""gVisor and containers: what differs from bubblewrap is that they are kept by programs of their own. Skipped
where there is neither."""

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest
from tests.support.patience import limit
from tests.support.sandboxes import environment, printed, started

from tutti.base.errors import CannotSandbox
from tutti.process.child import Child
from tutti.sandboxes.base import MIB, Driver, Limits
from tutti.sandboxes.container import Container
from tutti.sandboxes.probe import choose
from tutti.sandboxes.runsc import Runsc
from tutti.sandboxes.session import SessionDied

RUNTIMES: dict[str, Driver] = {it.name: it for it in (Runsc(), Container("podman"), Container("docker"))}
FILL = """
import mmap
kept = []
while True:
    kept.append(mmap.mmap(-1, 2 ** 24))
    kept[-1].write(b"x" * 2 ** 24)
"""
LOOK = """
import glob
print(glob.glob('/home/*/*') + glob.glob('/tmp/*'), len(glob.glob('/proc/[0-9]*')))
"""


@pytest.fixture(params=RUNTIMES)
async def driver(request: pytest.FixtureRequest) -> Driver:
    driver = RUNTIMES[request.param]
    try:
        await choose([driver], environment(), Limits())
    except CannotSandbox as error:
        pytest.skip(error.message)
    return driver


async def test_several_sessions_at_once_know_nothing_of_one_another(driver: Driver) -> None:
    async with started(driver) as first, started(driver) as second:
        await first.execute("open('mine', 'w').write('x')")
        assert await printed(second, LOOK) == "[] 1\n"


async def test_shared_memory_counts(driver: Driver) -> None:
    async with started(driver, memory_bytes=300 * MIB) as session:
        with pytest.raises(SessionDied, match="more than its 300 MiB of memory"):
            await session.execute(FILL)


async def test_what_a_killed_server_left_does_not_stay(driver: Driver, tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "tests.system.test_sandbox_runtimes", driver.name, str(tmp_path / "pids"))
    server = await Child.start(argv, {**os.environ, "PYTHONPATH": str(Path.cwd())})
    async with asyncio.timeout(limit(60)):
        while not (tmp_path / "pids").exists():
            await asyncio.sleep(0.05)
    left = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
    assert left
    server.kill()
    await server.wait()
    fresh = type(driver)() if isinstance(driver, Runsc) else Container(driver.name)
    async with started(fresh) as session:
        assert await printed(session, "print(1)") == "1\n"
        _, alive = psutil.wait_procs(left, timeout=limit(60))
        assert not alive


async def _busy_server(name: str, pids: Path) -> None:
    async with started(RUNTIMES[name]) as session:
        running = asyncio.create_task(session.execute("while True: pass"))
        await asyncio.sleep(0.5)
        written = pids.with_suffix(".new")
        written.write_text(" ".join(map(str, session._box.pids())))
        written.rename(pids)
        await running


if __name__ == "__main__":
    asyncio.run(_busy_server(sys.argv[1], Path(sys.argv[2])))
