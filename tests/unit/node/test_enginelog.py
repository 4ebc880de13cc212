"""The files of what engines say."""

import asyncio
import os
import sys

from tests.support.patience import limit

from tutti.node import enginelog
from tutti.process.child import Child

CHATTY = "import time\nfor n in range(10**9): print('line', n, 'x' * 1000, flush=True); time.sleep(0.001)"


async def grown(log, size: int) -> None:
    async with asyncio.timeout(limit(60)):
        while not (log.exists() and log.stat().st_size > size):
            await asyncio.sleep(0.02)


async def test_a_log_is_cut_while_the_engine_writes_and_what_it_said_is_kept_once(tmp_path):
    log = tmp_path / "engine.log"
    child = await Child.start([sys.executable, "-c", CHATTY], dict(os.environ), log=log, grace_s=1)
    try:
        await grown(log, 50_000)
        enginelog.cut(log, most_bytes=10_000_000_000)
        assert not (tmp_path / "engine.last.log").exists()
        enginelog.cut(log, most_bytes=50_000)
        assert (tmp_path / "engine.last.log").read_bytes().startswith(b"line 0 ")
        await grown(log, 5_000)
        assert b"\0" not in log.read_bytes()  # as there would be, were it not appended to
        assert b"line 0 " not in log.read_bytes()
    finally:
        child.kill()
        await child.wait()


def test_what_an_engine_said_before_it_ended_is_kept(tmp_path):
    log = tmp_path / "engine.log"
    enginelog.keep(log)
    enginelog.cut(log)
    log.write_text("it broke")
    enginelog.keep(log)
    assert not log.exists()
    assert (tmp_path / "engine.last.log").read_text() == "it broke"
