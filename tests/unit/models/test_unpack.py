import io
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.support.patience import limit

FILES = {"model/config.json": b"{}", "model/weights.gguf": b"GGUF" * 1000}


def unpack(archive: Path, folder: Path, most_bytes: int = 1 << 20) -> str:
    """What it says; empty where all went well."""
    argv = [sys.executable, "-m", "tutti.workers.uploads.unpack", str(archive), str(folder), str(most_bytes)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=limit(60))
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr.strip()


def tar(path: Path, *members: tuple[str, bytes | tarfile.TarInfo], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return path


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def found(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst", "zip"])
def test_every_kind_of_archive(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        zipped(path, *FILES.items())
    else:
        tar(path.with_suffix(".plain"), *FILES.items(), mode="w:gz" if kind == "tar.gz" else "w")
        path = path.with_suffix(".plain")
    if kind == "tar.zst":
        subprocess.run([sys.executable, "-c", ZSTD, str(path)], check=True)
    assert unpack(path, tmp_path / "out") == ""
    assert found(tmp_path / "out") == FILES


ZSTD = """
import pathlib, sys
import pyarrow
path = pathlib.Path(sys.argv[1])
path.write_bytes(pyarrow.compress(path.read_bytes(), codec="zstd", asbytes=True))
"""


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil"])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    for archive in (tar(tmp_path / "x.tar", (name, b"x")), zipped(tmp_path / "x.zip", (name, b"x"))):
        assert "leads out of it" in unpack(archive, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("*evil*"))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        member = tarfile.TarInfo("x.gguf")
        member.type, member.linkname = kind, "/etc/passwd"
        assert "is a link or a device" in unpack(tar(tmp_path / "x.tar", ("x", member)), tmp_path / "out")
    link = zipfile.ZipInfo("x.gguf")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zipped(tmp_path / "x.zip", (link, b"/etc/passwd"))
    assert "is a link or a device" in unpack(archive, tmp_path / "out")


def test_a_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", ("a.gguf", b"\0" * (1 << 22)))
    assert "takes more than 1048576 bytes" in unpack(archive, tmp_path / "out")
    assert sum(map(len, found(tmp_path / "out").values())) <= 1 << 20


def test_the_same_name_twice_does_not_replace_a_file(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x.tar", ("a.gguf", b"1"), ("a.gguf", b"2"))
    assert "damaged" in unpack(archive, tmp_path / "out")


@pytest.mark.parametrize(
    "data", [b"", b"no archive", b"\x1f\x8b broken", b"\x28\xb5\x2f\xfd broken", b"PK\x05\x06"]
)
def test_what_is_no_archive_is_a_message(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    assert unpack(path, tmp_path / "out").startswith("the archive is damaged")
