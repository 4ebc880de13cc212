"""Jobs' requests make way for clients': real sockets, and an upstream that takes its time."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.clock import Clock
from tests.support.patience import limit

from tutti.base.errors import Unavailable
from tutti.base.model import Model
from tutti.dispatch.announcer import Announcer
from tutti.dispatch.background import BEAT_S, LINGER_S, PREEMPTED, meeting_place
from tutti.dispatch.listener import Listener
from tutti.engines.echo import Echo
from tutti.engines.vllm import Vllm

ECHO = Echo()
ON_CPU = Model(name="a", type="chat", engine="echo", options={"shares": "cpu"})
ALSO_ON_CPU = Model(name="b", type="chat", engine="echo", options={"shares": "cpu"})
ON_GPU = Model(name="c", type="chat", engine="echo", options={"shares": "gpu"})
ALONE = Model(name="d", type="chat", engine="echo")


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Slow:
    """An engine that answers a piece every 10 ms, for ever."""

    adapter = -1

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.closed = 0

    async def post(self, path: str, body: bytes) -> bytes:
        self.asked.append(body)
        try:
            await asyncio.sleep(60)
        finally:
            self.closed += 1
        return b""

    async def stream(self, path: str, body: bytes) -> AsyncIterator[bytes]:
        self.asked.append(body)
        try:
            while True:
                await asyncio.sleep(0.01)
                yield b"piece"
        finally:
            self.closed += 1


@asynccontextmanager
async def node(folder: Path, clock: Clock) -> AsyncIterator[tuple[Announcer, Listener]]:
    """An API worker and a job worker that have found each other."""
    announcer, listener = Announcer(folder, clock), Listener(folder, clock)
    await listener.start()
    await announcer.start()
    while not announcer._listeners:
        await asyncio.sleep(0.01)
    clock.seconds += 0.75
    yield announcer, listener
    await announcer.close()
    await listener.close()


async def begins(listener: Listener, model: Model) -> None:
    async with asyncio.timeout(limit(60)):
        (await listener.begin(ECHO, model)).end()


async def waits(listener: Listener, model: Model) -> bool:
    """It looks several times in this while, and the clock stands still."""
    try:
        async with asyncio.timeout(0.2):
            (await listener.begin(ECHO, model)).end()
    except TimeoutError:
        return True
    return False


async def hears(listener: Listener, share: str, clock: Clock) -> None:
    """Returns when it has been told so at what is now the time."""
    async with asyncio.timeout(limit(60)):
        while listener._live_at.get(share) != clock.seconds:
            await asyncio.sleep(0.01)


async def test_a_job_waits_while_a_client_uses_the_same_compute(tmp_path: Path, clock: Clock) -> None:
    async with node(tmp_path, clock) as (announcer, listener):
        await begins(listener, ON_CPU)
        live = await announcer.begin(ECHO, ALSO_ON_CPU)
        await hears(listener, "cpu", clock)
        job = asyncio.create_task(listener.begin(ECHO, ON_CPU))
        for _ in range(round((LINGER_S + 0.5) / BEAT_S)):
            clock.seconds += BEAT_S
            await hears(listener, "cpu", clock)
            assert not job.done()
        await begins(listener, ON_GPU)
        await begins(listener, ALONE)
        live.end()
        clock.seconds += LINGER_S / 2
        assert await waits(listener, ON_CPU)
        clock.seconds += LINGER_S + 0.01
        async with asyncio.timeout(limit(60)):
            (await job).end()


async def test_what_runs_is_broken_off_at_once(tmp_path: Path, clock: Clock) -> None:
    async with node(tmp_path, clock) as (announcer, listener):
        engine = Slow()
        upstream = (await listener.begin(ECHO, ON_CPU)).upstream(engine)
        other = (await listener.begin(ECHO, ON_GPU)).upstream(engine)

        async def stream() -> None:
            async for piece in upstream.stream("/", b"{}"):
                assert piece == b"piece"

        streaming, going_on = asyncio.create_task(stream()), asyncio.create_task(other.post("/", b"{}"))
        async with asyncio.timeout(limit(60)):
            while len(engine.asked) < 2:
                await asyncio.sleep(0.01)
        await announcer.begin(ECHO, ALSO_ON_CPU)
        for _ in range(20):
            await asyncio.sleep(0)
        assert streaming.done()  # after a few turns of the loop: it waited for no time to pass
        with pytest.raises(Unavailable) as error:
            await streaming
        assert error.value.code == PREEMPTED
        assert engine.closed == 1
        assert not going_on.done()
        with pytest.raises(Unavailable):  # whatever else that request wants
            await upstream.post("/", b"{}")
        going_on.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going_on


async def test_cancelling_and_timing_out_are_still_what_they_are(tmp_path: Path, clock: Clock) -> None:
    async with node(tmp_path, clock) as (_, listener):
        upstream = (await listener.begin(ECHO, ON_CPU)).upstream(Slow())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await upstream.post("/", b"{}")


async def test_a_killed_api_worker_holds_nobody_up_for_long(tmp_path: Path, clock: Clock) -> None:
    async with node(tmp_path, clock) as (announcer, listener):
        await announcer.begin(ECHO, ON_CPU)
        await hears(listener, "cpu", clock)
        announcer._announcing.cancel()  # as if it were gone: it never says that the request has ended
        await asyncio.wait([announcer._announcing])
        assert await waits(listener, ON_CPU)
        clock.seconds += LINGER_S + 0.01
        await begins(listener, ON_CPU)


async def test_lost_datagrams_do_no_harm(tmp_path: Path, clock: Clock) -> None:
    async with node(tmp_path, clock) as (announcer, listener):
        await announcer.begin(ECHO, ON_CPU)
        asyncio.get_running_loop().remove_reader(listener._socket)
        await asyncio.sleep(0.15)
        while True:
            try:
                listener._socket.recv(1000)
            except BlockingIOError:
                break
        assert listener.is_quiet("cpu")
        asyncio.get_running_loop().add_reader(listener._socket, listener._read)
        await hears(listener, "cpu", clock)
        assert not listener.is_quiet("cpu")


async def test_a_new_job_worker_listens_before_it_begins(tmp_path: Path, clock: Clock) -> None:
    announcer, listener = Announcer(tmp_path, clock), Listener(tmp_path, clock)
    await announcer.start()
    await announcer.begin(ECHO, ON_CPU)
    await asyncio.sleep(0.2)  # it has looked, and there was nobody
    await listener.start()
    job = asyncio.create_task(listener.begin(ECHO, ON_CPU))
    await asyncio.sleep(0.2)
    assert not job.done() and not listener._live_at
    clock.seconds += 0.5  # it looks again
    await hears(listener, "cpu", clock)
    for _ in range(10):
        assert not job.done()
        clock.seconds += BEAT_S
        await hears(listener, "cpu", clock)
    job.cancel()
    await announcer.close()
    await listener.close()
    assert list(tmp_path.iterdir()) == []


async def test_the_socket_of_a_killed_job_worker_is_cleared_away(tmp_path: Path, clock: Clock) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / "1-dead.sock"))
    async with node(tmp_path, clock) as (announcer, listener):
        await announcer.begin(ECHO, ON_CPU)
        await hears(listener, "cpu", clock)
        assert not listener.is_quiet("cpu")
        assert not (tmp_path / "1-dead.sock").exists()


async def test_nonsense_is_not_minded(tmp_path: Path, clock: Clock) -> None:
    async with node(tmp_path, clock) as (_, listener):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"nonsense", str(listener._path))
        await asyncio.sleep(0.05)
        assert listener.is_quiet("cpu")


async def test_sockets_of_a_deep_data_directory_have_short_names(tmp_path: Path, clock: Clock) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    folder = meeting_place(deep)
    assert folder == meeting_place(deep) != meeting_place(deep / "other")
    async with node(folder, clock) as (announcer, listener):
        await announcer.begin(ECHO, ON_CPU)
        await hears(listener, "cpu", clock)
        assert not listener.is_quiet("cpu")
    shutil.rmtree(folder)


def test_vllm_is_told_which_requests_can_wait() -> None:
    assert Vllm().behind(b'{"model":"m"}') == b'{"priority":1,"model":"m"}'
