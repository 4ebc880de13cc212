"""What the runner gives up before it runs any code: its user id, its capabilities, most resources."""

import contextlib
import ctypes
import os
import resource
import signal
import struct
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 24, 38, 39
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _INSTRUCTION_BYTES = 22, 2, 8
_OPEN_FILES = 256
_OOM_SCORE = "500"
"""Where the machine runs out of memory, the kernel shall take it from the code and not from the server."""
_ADDRESS_FACTOR, _ADDRESS_BYTES = 2, 4 * 1024**3
"""Room for libraries that reserve addresses they never use; a bound, since page tables are memory, too."""
_RESERVE = 1 / 16
"""Of memory and open files: what the runner itself has left when the code has used up its part."""


def confine(told: dict[str, Any]) -> None:
    """`told`: see sandboxes/base.py. Raises OSError or RuntimeError where it does not hold: nothing may run
    then."""
    limits = {
        resource.RLIMIT_AS: told["memory_bytes"] * _ADDRESS_FACTOR + _ADDRESS_BYTES,
        resource.RLIMIT_DATA: told["memory_bytes"],
        resource.RLIMIT_NPROC: told["processes"],
        resource.RLIMIT_FSIZE: told["disk_bytes"],
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_CORE: 1,  # 0 would let a program of the machine have it, if it wants to
    }
    for what, limit in limits.items():
        there = resource.getrlimit(what)
        limit = limit if there[1] == resource.RLIM_INFINITY else min(limit, there[1])
        if there != (limit, limit):  # gVisor has some from its start, and lets nobody set them
            resource.setrlimit(what, (limit, limit))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123
        score.write(_OOM_SCORE)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if told["uid"] is not None:
        _become(told["uid"], prctl)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if program := bytes.fromhex(told["seccomp"]):
        _filter(program, prctl)
    if told["is_sandboxed"]:
        _check()


def keep_reserve(held: bool) -> None:
    """While the code runs there is a reserve, which the runner takes back for what it does itself."""
    for what in (resource.RLIMIT_DATA, resource.RLIMIT_NOFILE):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (int(hard * (1 - _RESERVE)) if held else hard, hard))


def _become(uid: int, prctl: Callable[..., int]) -> None:
    capability = 0
    while prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:  # fails behind the last one
        capability += 1
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else our own /proc/self is not ours: it is the former root's


def _filter(program: bytes, prctl: Callable[..., int]) -> None:
    """Only further filters can be added from then on, by us and by all that we start."""
    kept = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(kept))
    if prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the filter of system calls was not taken")


def _check() -> None:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 (pathlib is slow to import)
        found = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    for field in ("CapPrm", "CapEff", "CapAmb"):
        if int(found.get(field, "0"), 16):  # gVisor has no ambient ones
            raise RuntimeError(f"{field} is {found[field]}")
    if "0" in found["Uid"].split() or ctypes.CDLL(None).prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        raise RuntimeError(f"user ids {found['Uid']}, or new privileges are to be had")
