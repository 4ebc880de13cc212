"""The code interpreter: how soon a session is there, how fast it answers, what it weighs.

A sandboxed session is compared with a bare kernel of Jupyter (no sandbox, no server: a script that uses
jupyter_client) in alternating rounds. Then the same through the HTTP API, as clients see it.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import aiohttp
import psutil

from bench.report import Claim, at_least, at_most, publish
from bench.servers import KEY, ROOT, Server, peer_environment, tutti
from tutti.sandboxes.base import Limits, Spec
from tutti.sandboxes.bubblewrap import Bubblewrap
from tutti.sandboxes.environment import environments_folder, make
from tutti.sandboxes.pool import Pool
from tutti.sandboxes.session import Session
from tutti.sandboxes.uids import Uids

ROUNDS = 5
STARTS, EXECUTIONS = 3, 200
TAKEN, PAUSE_S = 10, 1.0
LIVE, WARM, PEER_LIVE = 40, 4, 10
ECHO = '["bench/echo"]\ntype = "chat"\nengine = "echo"\n'
CODE = "print(1)"
HOME = Path(tempfile.gettempdir()) / "tutti-bench"
"""Where the interpreter's environment is kept between runs."""


async def main() -> None:
    environment = await make(HOME)
    python = peer_environment("jupyter") / "python"
    bare = [await _bare_round(environment, python) for _ in range(ROUNDS)]
    handed_out = await _hand_out_ms(environment)
    with _data_dir() as data_dir:
        catalog = data_dir / "echo.toml"
        catalog.write_text(ECHO)
        flags = ("--catalog", str(catalog), "--model", "bench/echo", "--interpreter-warm", str(WARM))
        async with tutti(data_dir, *flags) as server:
            served = await _served(server)
    per_kernel_mb = _peer(python, PEER_LIVE, 1)["pss_bytes"] / PEER_LIVE / 1e6
    peer_memory = Claim("memory of a bare ipykernel (PSS)", "MB", [per_kernel_mb])
    notes = (
        f"{CODE} {EXECUTIONS} times a round; bubblewrap; jupyter_client + ipykernel, which has none, "
        f"{psutil.cpu_count()} cores"
    )
    publish("interpreter", [*_compared(bare), handed_out, *served, peer_memory], notes=notes)


# --- a session of ours and a kernel of theirs -------------------------------------------------------------


async def _bare_round(environment: Path, python: Path) -> tuple[float, float, float, float]:
    """Seconds: our start, our execution, their start, their execution."""
    start_s, execute_s = await _ours(environment)
    peer = await asyncio.to_thread(_peer, python, STARTS, EXECUTIONS)
    return start_s, execute_s, median(peer["start_s"]), median(peer["execute_s"])


async def _ours(environment: Path) -> tuple[float, float]:
    starts: list[float] = []
    uids = Uids(STARTS) if os.geteuid() == 0 else None
    for _ in range(STARTS):
        began = time.monotonic()
        spec = Spec(environment, Limits(), uids.take() if uids else None)
        session = await Session.start(Bubblewrap(), spec)
        starts.append(time.monotonic() - began)
        executions = [await _execute_s(session) for _ in range(10 + EXECUTIONS)]
        await session.close()
    return median(starts), median(executions[10:])


async def _execute_s(session: Session) -> float:
    began = time.monotonic()
    (output,) = await session.execute(CODE)
    assert output.data == "1\n"
    return time.monotonic() - began


def _peer(python: Path, kernels: int, executions: int) -> dict[str, list[float]]:
    argv = (str(python), str(ROOT / "bench" / "jupyter_peer.py"), str(kernels), str(executions))
    return json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)


async def _hand_out_ms(environment: Path) -> Claim:
    pool = Pool(Bubblewrap(), environment, Limits(), most=TAKEN, spare=2)
    await pool.fill()
    took: list[float] = []
    for _ in range(TAKEN):
        began = time.monotonic()
        session = await pool.take()
        took.append((time.monotonic() - began) * 1e3)
        await asyncio.sleep(PAUSE_S)
        await pool.end(session)
    await pool.close()
    return at_most("a session out of the warm pool", "ms", took, 10)


def _compared(rounds: list[tuple[float, float, float, float]]) -> list[Claim]:
    starts = [theirs / ours for ours, _, theirs, _ in rounds]
    executions = [theirs / ours for _, ours, _, theirs in rounds]
    return [
        at_least("start: bare ipykernel / sandboxed session", "x", starts, 5),
        at_least(f"{CODE}: bare ipykernel / sandboxed session", "x", executions, 10),
        Claim("start of a sandboxed session", "s", [it[0] for it in rounds]),
        Claim("start of a bare ipykernel", "s", [it[2] for it in rounds]),
        Claim(f"{CODE} in a sandboxed session, p50", "ms", [it[1] * 1e3 for it in rounds]),
        Claim(f"{CODE} in a bare ipykernel, p50", "ms", [it[3] * 1e3 for it in rounds]),
    ]


# --- through the HTTP API ---------------------------------------------------------------------------------


@contextmanager
def _data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        environments_folder(Path(folder)).symlink_to(environments_folder(HOME))
        yield Path(folder)


async def _served(server: Server) -> list[Claim]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=120)) as http:
        first_ms, id = await _run_ms(http, server)
        for _ in range(20):
            await _run_ms(http, server, id)
        rounds = [[(await _run_ms(http, server, id))[0] for _ in range(EXECUTIONS)] for _ in range(ROUNDS)]
        fresh: list[float] = []
        for _ in range(TAKEN):
            await asyncio.sleep(PAUSE_S)
            fresh.append((await _run_ms(http, server))[0])
        for _ in range(LIVE - TAKEN - 1):
            await _run_ms(http, server)
        await asyncio.sleep(2)
        pss_mb = _pss_bytes(server) / 1e6
    return [
        at_most(f"{CODE} through the HTTP API, p50", "ms", [median(it) for it in rounds], 5),
        Claim("the same, p99", "ms", [quantiles(it, n=100)[98] for it in rounds]),
        at_most(f"{CODE} in a new session through the HTTP API", "ms", fresh, 10),
        Claim("the first call of all, which starts the sandbox host", "s", [first_ms / 1e3]),
        at_most(f"sandbox host, {LIVE} live sessions and {WARM} warm ones (PSS)", "MB", [pss_mb], 1000),
    ]


async def _run_ms(
    http: aiohttp.ClientSession, server: Server, session: str | None = None
) -> tuple[float, str]:
    """Run code, and return its time in ms and the session's id. Ask again while the server is not ready."""
    body = {"language": "python", "code": CODE, "session_id": session}
    began = time.monotonic()
    while True:
        async with http.post(f"{server.url}/tci/execute", json=body) as answer:
            said = await answer.json()
        if answer.status != 503:
            break
        await asyncio.sleep(0.1)
    took_ms = (time.monotonic() - began) * 1e3
    assert answer.status == 200, said
    assert said["data"]["outputs"] == [{"type": "stdout", "data": "1\n"}], said
    return took_ms, said["data"]["session_id"]


def _pss_bytes(server: Server) -> int:
    """Return the memory (PSS) of the host and all processes that it has started."""
    hosts = [it for it in server.processes() if it.cmdline()[1:3] == ["-m", "tutti.app.sandboxhost"]]
    tree = [it for host in hosts for it in (host, *host.children(recursive=True))]
    return sum(it.memory_full_info().pss for it in tree)
