"""The file tree of a sandbox, for drivers that need it on disk: a few small files, and what is bound into it.

Bound into it read-only, from this machine: /usr, some of /etc, the Python and its environment."""

import shutil
from pathlib import Path

from tutti.sandboxes.base import HOME, RUNNER_AT, python_folders, runner_files

SYSTEM = ("/bin", "/sbin", "/lib", "/lib64", "/lib32")
"""Folders that are links into /usr on most machines."""
ETC = ("ld.so.cache", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/ca-trust", "alternatives")
FILES = {
    "/etc/hosts": "127.0.0.1 localhost sandbox\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/passwd": f"user:x:{{uid}}:{{uid}}:user:{HOME}:/bin/sh\n",
    "/etc/group": "user:x:{uid}:\n",
}
"""Files of the sandbox itself. `{uid}` is replaced by the code's user id."""

WRITABLE = (HOME, "/tmp")  # noqa: S108 (in the sandbox)
"""Writable folders, in memory. Each may have half of the disk limit."""
_FOLDERS = ("usr", "proc", "sys", "dev", "tmp", "var", "run", HOME[1:], RUNNER_AT[1:])


def bound_paths(environment: Path) -> list[Path]:
    """Return the paths of this machine that a sandbox has at the same place."""
    system = [path for path in map(Path, SYSTEM) if path.is_dir() and not path.is_symlink()]
    etc = [path for name in (*ETC, "fonts") if (path := Path("/etc", name)).exists()]
    return [Path("/usr"), *system, *etc, *python_folders(environment)]


def write_tree(folder: Path, environment: Path, uid: int) -> None:
    """Write the sandbox's file tree into `folder`, with an empty place for each bound path. Every user may
    read it, whatever the umask of this process."""
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for link in map(Path, SYSTEM):
        if link.is_symlink():
            (folder / link.name).symlink_to(link.readlink())
    for path in bound_paths(environment):
        place = folder / path.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(exist_ok=True) if path.is_dir() else place.touch()
    for name, content in FILES.items():
        (folder / name[1:]).write_text(content.format(uid=uid))
    (folder / "var" / "tmp").symlink_to("../tmp")
    for file in runner_files():
        shutil.copyfile(file, folder / RUNNER_AT[1:] / file.name)
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
