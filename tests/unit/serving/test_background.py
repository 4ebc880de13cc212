"""Jobs' requests make way for clients': real sockets, and an upstream that takes its time."""

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tutti.base.clock import monotonic_s
from tutti.base.errors import Unavailable
from tutti.base.model import Model
from tutti.engines.echo import Echo
from tutti.engines.vllm import Vllm
from tutti.serving.background import LINGER_S, PREEMPTED, Announcer, Listener, meeting_place

ECHO = Echo()
ON_CPU = Model(name="a", type="chat", engine="echo", options={"shares": "cpu"})
ALSO_ON_CPU = Model(name="b", type="chat", engine="echo", options={"shares": "cpu"})
ON_GPU = Model(name="c", type="chat", engine="echo", options={"shares": "gpu"})
ALONE = Model(name="d", type="chat", engine="echo")


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
async def node(folder: Path) -> AsyncIterator[tuple[Announcer, Listener]]:
    """An API worker and a job worker that have found each other."""
    announcer, listener = Announcer(folder), Listener(folder)
    await listener.start()
    await announcer.start()
    await asyncio.sleep(0.75)
    yield announcer, listener
    await announcer.close()
    await listener.close()


async def begins(listener: Listener, model: Model, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            turn = await listener.begin(ECHO, model)
    except TimeoutError:
        return False
    turn.end()
    return True


async def test_a_job_waits_while_a_client_uses_the_same_compute(tmp_path: Path) -> None:
    async with node(tmp_path) as (announcer, listener):
        assert await begins(listener, ON_CPU, 0.1)
        live = await announcer.begin(ECHO, ALSO_ON_CPU)
        await asyncio.sleep(0.05)
        assert not await begins(listener, ON_CPU, LINGER_S + 0.5)
        assert await begins(listener, ON_GPU, 0.1)
        assert await begins(listener, ALONE, 0.1)
        live.end()
        assert not await begins(listener, ON_CPU, LINGER_S / 2)
        assert await begins(listener, ON_CPU, LINGER_S)


async def test_what_runs_is_broken_off_at_once(tmp_path: Path) -> None:
    async with node(tmp_path) as (announcer, listener):
        engine = Slow()
        upstream = (await listener.begin(ECHO, ON_CPU)).upstream(engine)
        other = (await listener.begin(ECHO, ON_GPU)).upstream(engine)

        async def stream() -> None:
            async for piece in upstream.stream("/", b"{}"):
                assert piece == b"piece"

        streaming, going_on = asyncio.create_task(stream()), asyncio.create_task(other.post("/", b"{}"))
        await asyncio.sleep(0.1)
        began = monotonic_s()
        await announcer.begin(ECHO, ALSO_ON_CPU)
        with pytest.raises(Unavailable) as error:
            await streaming
        assert monotonic_s() - began < 0.1
        assert error.value.code == PREEMPTED
        assert engine.closed == 1
        assert not going_on.done()
        with pytest.raises(Unavailable):  # whatever else that request wants
            await upstream.post("/", b"{}")
        going_on.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going_on


async def test_cancelling_and_timing_out_are_still_what_they_are(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, listener):
        upstream = (await listener.begin(ECHO, ON_CPU)).upstream(Slow())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await upstream.post("/", b"{}")


async def test_a_killed_api_worker_holds_nobody_up_for_long(tmp_path: Path) -> None:
    async with node(tmp_path) as (announcer, listener):
        await announcer.begin(ECHO, ON_CPU)
        await asyncio.sleep(0.1)
        announcer._telling.cancel()  # as if it were gone: it never says that the request has ended
        assert await begins(listener, ON_CPU, LINGER_S + 0.3)


async def test_lost_datagrams_do_no_harm(tmp_path: Path) -> None:
    async with node(tmp_path) as (announcer, listener):
        await announcer.begin(ECHO, ON_CPU)
        asyncio.get_running_loop().remove_reader(listener._socket)
        await asyncio.sleep(0.15)
        while True:
            try:
                listener._socket.recv(1000)
            except BlockingIOError:
                break
        asyncio.get_running_loop().add_reader(listener._socket, listener._read)
        await asyncio.sleep(0.2)
        assert not listener.is_quiet("cpu")


async def test_a_new_job_worker_listens_before_it_begins(tmp_path: Path) -> None:
    announcer, listener = Announcer(tmp_path), Listener(tmp_path)
    await announcer.start()
    await announcer.begin(ECHO, ON_CPU)
    await asyncio.sleep(0.2)
    await listener.start()
    assert not await begins(listener, ON_CPU, 1.5)
    await announcer.close()
    await listener.close()
    assert list(tmp_path.iterdir()) == []


async def test_the_socket_of_a_killed_job_worker_is_cleared_away(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / "1-dead.sock"))
    async with node(tmp_path) as (announcer, listener):
        await announcer.begin(ECHO, ON_CPU)
        await asyncio.sleep(0.05)
        assert not listener.is_quiet("cpu")
        assert not (tmp_path / "1-dead.sock").exists()


async def test_nonsense_is_not_minded(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, listener):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"nonsense", str(listener._path))
        await asyncio.sleep(0.05)
        assert listener.is_quiet("cpu")


async def test_sockets_of_a_deep_data_directory_have_short_names() -> None:
    deep = Path(tempfile.gettempdir()) / ("d" * 60) / ("e" * 60)
    folder = meeting_place(deep)
    assert folder == meeting_place(deep) != meeting_place(deep / "other")
    async with node(folder) as (announcer, listener):
        await announcer.begin(ECHO, ON_CPU)
        await asyncio.sleep(0.05)
        assert not listener.is_quiet("cpu")
    shutil.rmtree(folder)


def test_vllm_is_told_which_requests_can_wait() -> None:
    assert Vllm().behind(b'{"model":"m"}') == b'{"priority":1,"model":"m"}'
