"""The programs that are compared: the fake engine, Tutti in front of it, LiteLLM's proxy in front of it."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

ROOT = Path(__file__).parent.parent
KEY = "bench"


@contextmanager
def new_data_dir() -> Iterator[Path]:
    """Make an empty data directory, without jobs of other benches, but with the weights, downloaded once."""
    models = Path(tempfile.gettempdir()) / "tutti-bench" / "models"
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").symlink_to(models)
        yield Path(folder)


@dataclass(frozen=True)
class Server:
    """`url` ends in /v1; `pid` is the root of the process tree whose CPU time and memory are counted."""

    name: str
    url: str
    pid: int

    def processes(self) -> list[psutil.Process]:
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def pss_bytes(self) -> int:
        """Memory, with pages that processes share counted once."""
        return sum(process.memory_full_info().pss for process in self.processes())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _running(name: str, argv: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.NamedTemporaryFile(prefix=f"bench-{name}-", suffix=".log") as log:
        child = subprocess.Popen(
            argv, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **env}, cwd=ROOT
        )
        try:
            yield child
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its log:\n{Path(log.name).read_text()[-3000:]}") from error
        finally:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(20)
            child.kill()


async def _answers(url: str, child: subprocess.Popen[bytes], timeout_s: float) -> None:
    async with aiohttp.ClientSession() as session:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and child.poll() is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)
    raise TimeoutError(f"{url} did not answer within {timeout_s} s (exit code {child.poll()})")


@asynccontextmanager
async def fake_engine(*flags: str) -> AsyncIterator[Server]:
    port = free_port()
    argv = [sys.executable, "-m", "tutti.workers.echo", "--port", str(port), *flags]
    with _running("engine", argv) as child:
        await _answers(f"http://127.0.0.1:{port}/health", child, 20)
        yield Server("engine", f"http://127.0.0.1:{port}/v1", child.pid)


@asynccontextmanager
async def tutti(data_dir: Path, *flags: str, wait_s: float = 60) -> AsyncIterator[Server]:
    port = free_port()
    argv = [sys.executable, "-m", "tutti", "serve", "--port", str(port), "--data-dir", str(data_dir), *flags]
    with _running("tutti", argv) as child:
        await _answers(f"http://127.0.0.1:{port}/readyz", child, wait_s)
        yield Server("tutti", f"http://127.0.0.1:{port}/v1", child.pid)


def engine_of(server: Server, module: str) -> Server:
    """Return the child of this server that runs the module, found by its command line."""
    for process in server.processes():
        argv = process.cmdline()
        if module in argv and "--port" in argv and "shepherd" not in " ".join(argv[:4]):
            return Server("engine", f"http://127.0.0.1:{argv[argv.index('--port') + 1]}/v1", process.pid)
    raise RuntimeError(f"no {module} is running")


@asynccontextmanager
async def litellm_proxy(folder: Path, engine: Server) -> AsyncIterator[Server]:
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: bench/chat\n"
        "    litellm_params: "
        f"{{model: openai/bench, api_base: '{engine.url}', api_key: '{KEY}'}}\n"
    )
    argv = [
        str(peer_environment("litellm") / "litellm"),
        "--config",
        str(config),
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    open_to_all = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    with _running("litellm", argv, **quiet, **open_to_all) as child:
        await _answers(f"http://127.0.0.1:{port}/health/liveliness", child, 120)
        yield Server("litellm", f"http://127.0.0.1:{port}/v1", child.pid)


def peer_environment(name: str) -> Path:
    """Make a peer's Python environment from requirements/<name>.txt, and return its folder of programs."""
    home = ROOT / ".clients" / name
    complete = home / "complete"
    if not complete.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", str(home)], check=True)
        lock = ("--require-hashes", "-r", str(ROOT / "requirements" / f"{name}.txt"))
        install = (uv, "pip", "install", "--quiet", *lock, "--python", f"{home}/bin/python")
        subprocess.run(install, check=True)
        complete.touch()
    return home / "bin"
