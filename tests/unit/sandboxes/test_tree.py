"""The files that gVisor and containers get of us."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from tutti.sandboxes.base import HOME, RUNNER_AT, Limits, Spec
from tutti.sandboxes.container import packed_tree
from tutti.sandboxes.runsc import config
from tutti.sandboxes.tree import bound_paths, write_tree


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The links of one."""
    python = tmp_path / "python" / "bin" / "python3.11"
    python.parent.mkdir(parents=True)
    python.touch()
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(python)
    return tmp_path / "venv"


def test_everybody_may_read_it_and_nobody_may_write_whatever_our_umask_is(
    environment: Path, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        write_tree(tmp_path / "root", environment, 1000)
    finally:
        os.umask(before)
    for path in (tmp_path / "root").rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    assert (tmp_path / "root" / RUNNER_AT[1:] / "main.py").exists()
    assert (tmp_path / "root" / "etc" / "passwd").read_text().startswith("user:x:1000:")
    assert not (tmp_path / "root" / "etc" / "shadow").exists()


def test_what_is_bound_has_its_place_in_it(environment: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "root", environment, 1000)
    for path in bound_paths(environment):
        place = tmp_path / "root" / path.relative_to("/")
        assert place.is_dir() == path.is_dir(), path
    assert {Path("/usr"), environment, tmp_path / "python" / "bin"} <= set(bound_paths(environment))


def test_an_image_is_the_same_each_time(environment: Path) -> None:
    packed = packed_tree(environment)
    assert packed == packed_tree(environment)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert {(file.uid, file.gid) for file in archive} == {(0, 0)}
        assert HOME[1:] in archive.getnames()


def test_a_bundle_binds_nothing_that_can_be_written(environment: Path, tmp_path: Path) -> None:
    bundle = config(Spec(environment, Limits(disk_bytes=1000), None, tmp_path / "proxy"), 1000)
    binds = [mount for mount in bundle["mounts"] if mount["type"] == "bind"]
    assert str(tmp_path / "proxy") in {mount["source"] for mount in binds}
    assert all("ro" in mount["options"] for mount in binds)
    sizes = {mount["options"][-1] for mount in bundle["mounts"] if mount["type"] == "tmpfs"}
    assert sizes == {"size=500"}
