"""The reservations of a server before it starts anything: its data directory, and its port."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import filelock

from tutti.base.address import local_url
from tutti.base.clock import monotonic_s
from tutti.base.settings import Settings

_PATIENCE_S = 5.0
"""The workers of a server that was killed a moment ago may still be ending."""
_RETRY_S = 0.1


class CannotStart(Exception):
    """The server cannot start. The text says why, and what to do."""


@contextmanager
def held_data_dir(settings: Settings) -> Generator[None]:
    """Hold the data directory. Raises CannotStart if another server has it."""
    lock = filelock.FileLock(settings.data_dir / "controller.lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout as error:
        raise CannotStart(
            f"another server uses {settings.data_dir}; stop it, or choose another --data-dir."
        ) from error
    with lock:
        yield


@asynccontextmanager
async def held_port(settings: Settings) -> AsyncGenerator[int]:
    """Hold the port, with a bound socket that never listens: the API workers share the port by SO_REUSEPORT,
    and nobody takes it while one of them is started again. Meanwhile the URL is in the file `url` of the data
    directory. Raises CannotStart."""
    with await _reserve(settings.host, settings.port) as held:
        port = int(held.getsockname()[1])
        url_file = settings.data_dir / "url"
        url_file.write_text(local_url(settings.host, port) + "\n")
        try:
            yield port
        finally:
            url_file.unlink(missing_ok=True)


async def _reserve(host: str, port: int) -> socket.socket:
    give_up_at = monotonic_s() + _PATIENCE_S
    while True:
        try:
            return _bind_shared(host, _bind_alone(host, port))
        except OSError as error:
            if monotonic_s() >= give_up_at:
                raise CannotStart(
                    f"{host}:{port} cannot be listened on: {error.strerror}. Choose another --port."
                ) from error
            await asyncio.sleep(_RETRY_S)


def _bind_alone(host: str, port: int) -> int:
    """Bind the port without SO_REUSEPORT, since with it a second server would silently get half of the
    requests."""
    with _open(host) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def _bind_shared(host: str, port: int) -> socket.socket:
    held = _open(host)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError:
        held.close()
        raise
    return held


def _open(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
