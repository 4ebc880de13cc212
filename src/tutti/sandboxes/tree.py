"""What a sandbox sees of files, for drivers that want it on disk: a small tree of its own, and what is bound
into it, read-only: /usr, some of /etc, the Python and its environment."""

import shutil
from pathlib import Path

from tutti.sandboxes.base import HOME, RUNNER_AT, runner_files

WRITABLE = (HOME, "/tmp")  # noqa: S108 (in the sandbox)
"""In memory; each may have half of the limit on disk."""
_SYSTEM = ("bin", "sbin", "lib", "lib64", "lib32")
_ETC = (
    "ld.so.cache",
    "ssl/certs",
    "ssl/openssl.cnf",
    "pki/tls/certs",
    "pki/ca-trust",
    "alternatives",
    "fonts",
)
_FOLDERS = ("usr", "proc", "sys", "dev", "tmp", "var", "run", HOME[1:], RUNNER_AT[1:])
_FILES = {
    "etc/hosts": "127.0.0.1 localhost sandbox\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/passwd": "user:x:{uid}:{uid}:user:" + HOME + ":/bin/sh\n",
    "etc/group": "user:x:{uid}:\n",
}


def bound_paths(environment: Path) -> list[Path]:
    """The same inside as outside."""
    python = (environment / "bin" / "python").resolve().parent.parent
    system = [
        Path("/", name) for name in _SYSTEM if Path("/", name).is_dir() and not Path("/", name).is_symlink()
    ]
    etc = [path for name in _ETC if (path := Path("/etc", name)).exists()]
    pythons = [path for path in (python, environment) if path != Path("/usr")]
    return [Path("/usr"), *system, *etc, *pythons]


def write_tree(folder: Path, environment: Path, uid: int) -> None:
    """Everybody may read it, whatever our umask is; what is bound has its place in it."""
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in _SYSTEM:
        if (link := Path("/", name)).is_symlink():
            (folder / name).symlink_to(link.readlink())
    for path in bound_paths(environment):
        place = folder / path.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(exist_ok=True) if path.is_dir() else place.touch()
    for name, content in _FILES.items():
        (folder / name).write_text(content.format(uid=uid))
    (folder / "var" / "tmp").symlink_to("../tmp")
    for file in runner_files():
        shutil.copyfile(file, folder / RUNNER_AT[1:] / file.name)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
