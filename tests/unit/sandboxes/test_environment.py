"""How an environment is made: the real program, pip and all, with a package of the test's own."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.patience import limit
from tests.support.weights import wheel

from tutti.process.child import Child
from tutti.sandboxes.environment import (
    environment_folder,
    hold,
    is_being_made,
    is_made,
    make,
    read_progress,
    remove,
)


@dataclass(frozen=True)
class Place:
    folder: Path
    requirements: Path
    env: dict[str, str]

    async def start(self, **env: str) -> Child:
        argv = (sys.executable, "-m", "tutti.workers.environment", str(self.folder), str(self.requirements))
        return await Child.start(argv, {**self.env, **env})

    def has_the_package(self) -> bool:
        argv = (str(self.folder / "bin" / "python"), "-I", "-c", "import tiny; print(tiny.NAME)")
        return subprocess.run(argv, capture_output=True, check=False).stdout == b"tiny\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """pip finds one wheel in a folder, and no index."""
    requirement = wheel(tmp_path / "wheels", "tiny", {"tiny.py": b"NAME = 'tiny'"})
    (file,) = (tmp_path / "wheels").glob("*.whl")
    pinned = f"{requirement} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"
    (tmp_path / "lock.txt").write_text(pinned)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return Place(tmp_path / "environments" / "one", tmp_path / "lock.txt", {**inherited, **pip})


@pytest.fixture
async def hanging_index() -> AsyncIterator[dict[str, str]]:
    """An index that never answers."""
    left = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        await left.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", wait)
    async with TestServer(app, host="127.0.0.1") as server:
        yield {"PIP_INDEX_URL": f"http://127.0.0.1:{server.port}/", "PIP_NO_INDEX": "0", "PIP_RETRIES": "0"}
        left.set()


async def until_being_made(folder: Path) -> None:
    async with asyncio.timeout(limit(60)):
        while not folder.exists():
            await asyncio.sleep(0.02)


async def test_two_at_once_make_one_and_everybody_may_read_it(place: Place) -> None:
    before = os.umask(0o077)
    first, second = await place.start(), await place.start()
    os.umask(before)
    assert [await first.wait(), await second.wait()] == [0, 0]
    assert is_made(place.folder)
    assert place.has_the_package()
    assert read_progress(place.folder).state == "done"
    assert all(it.stat().st_mode & 0o444 == 0o444 for it in place.folder.rglob("*") if not it.is_symlink())


async def test_whoever_comes_after_a_kill_9_begins_anew(place: Place, hanging_index: dict[str, str]) -> None:
    killed = await place.start(**hanging_index)
    await until_being_made(place.folder)
    assert is_being_made(place.folder)
    with pytest.raises(BlockingIOError):
        remove(place.folder)
    killed.kill()
    assert await killed.wait() == 128 + signal.SIGKILL
    assert not is_made(place.folder)
    (place.folder / "remains").touch()
    assert await (await place.start()).wait() == 0
    assert place.has_the_package()
    assert not (place.folder / "remains").exists()


async def test_what_pip_cannot_install_is_said(place: Place) -> None:
    place.requirements.write_text("missing==1.0 --hash=sha256:" + "0" * 64)
    assert await (await place.start()).wait() == 1
    assert not is_made(place.folder)
    assert "No matching distribution found for missing==1.0" in str(read_progress(place.folder))
    assert "missing" in (place.folder.parent / ".one.log").read_text()


async def test_a_package_with_another_hash_is_refused(place: Place) -> None:
    place.requirements.write_text("tiny==1.0 --hash=sha256:" + "0" * 64)
    assert await (await place.start()).wait() == 1
    assert not is_made(place.folder)


async def test_an_environment_that_is_held_is_not_removed(place: Place) -> None:
    assert await (await place.start()).wait() == 0
    held = hold(place.folder)
    with pytest.raises(BlockingIOError):
        remove(place.folder)
    held.close()
    remove(place.folder)
    assert not place.folder.exists()


async def test_what_is_made_is_used_without_starting_anything(tmp_path: Path) -> None:
    folder = environment_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "complete").touch()
    assert await make(tmp_path) == folder


def test_progress_counts_what_pip_has_installed(place: Place) -> None:
    packages = place.folder / "lib" / "python3.11" / "site-packages"
    for name in ("one", "two"):
        (packages / f"{name}-1.0.dist-info").mkdir(parents=True)
    told = {"state": "installing", "packages": 0, "total": 5, "error": ""}
    (place.folder.parent / ".one.progress").write_text(json.dumps(told))
    assert str(read_progress(place.folder)) == "2 of 5 packages are installed"


# --- the command --------------------------------------------------------------------------------------------


def tutti_env(data_dir: Path, *args: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "tutti", "env", *args, "--data-dir", str(data_dir))
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_command_lists_and_removes(tmp_path: Path) -> None:
    current, old = environment_folder(tmp_path), tmp_path / "environments" / "interpreter-0"
    for folder in (current, old):
        folder.mkdir(parents=True)
        (folder / "complete").touch()
    (tmp_path / "environments" / "broken").mkdir()
    listed = [line.split()[::3] for line in tutti_env(tmp_path, "list").stdout.splitlines()[1:]]
    assert sorted(listed) == sorted([[current.name, "complete"], [old.name, "old"], ["broken", "partial"]])
    held = hold(old)
    assert "in use" in tutti_env(tmp_path, "rm", old.name).stderr
    held.close()
    assert tutti_env(tmp_path, "rm", old.name).returncode == 0
    assert not old.exists()
    assert tutti_env(tmp_path, "rm", "../environments").returncode == 1
    assert tutti_env(tmp_path, "make").stdout == f"{current}\n"
