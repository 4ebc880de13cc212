"""Confines the runner before it executes any code: user id, capabilities, resource limits, system calls."""

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
"""If the machine runs out of memory, the kernel should end the code and not the server."""
_ADDRESS_FACTOR, _ADDRESS_BYTES = 2, 4 * 1024**3
"""The limit of address space: generous for libraries that reserve more than they use, but a limit, because
page tables take memory too."""
_RESERVE = 1 / 16
"""The share of memory and open files that the runner keeps for itself when the code has used up its part."""


def confine(settings: dict[str, Any]) -> None:
    """Apply the limits in `settings` (see sandboxes/base.py) to this process.

    Raises OSError or RuntimeError if one of them does not take effect; no code may be executed then.
    """
    limits = {
        resource.RLIMIT_AS: settings["memory_bytes"] * _ADDRESS_FACTOR + _ADDRESS_BYTES,
        resource.RLIMIT_DATA: settings["memory_bytes"],
        resource.RLIMIT_NPROC: settings["processes"],
        resource.RLIMIT_FSIZE: settings["disk_bytes"],
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_CORE: 1,  # 0 would let a program of the machine have it, if it wants to
    }
    for kind, limit in limits.items():
        present = resource.getrlimit(kind)
        limit = limit if present[1] == resource.RLIM_INFINITY else min(limit, present[1])
        if present != (limit, limit):  # gVisor sets some at its start, and refuses any change
            resource.setrlimit(kind, (limit, limit))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:  # noqa: PTH123
        score.write(_OOM_SCORE)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if settings["uid"] is not None:
        _become(settings["uid"], prctl)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if program := bytes.fromhex(settings["seccomp"]):
        _filter(program, prctl)
    if settings["is_sandboxed"]:
        _check()


def keep_reserve(held: bool) -> None:
    """Hold back a reserve of memory and open files while the code runs, or release it to the runner."""
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_NOFILE):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (int(hard * (1 - _RESERVE)) if held else hard, hard))


def _become(uid: int, prctl: Callable[..., int]) -> None:
    capability = 0
    while prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:  # fails behind the last one
        capability += 1
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # otherwise /proc/self still belongs to root


def _filter(program: bytes, prctl: Callable[..., int]) -> None:
    """Install a seccomp filter, for this process and all that it starts. It cannot be removed any more."""
    kept = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(kept))
    if prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the filter of system calls was not taken")


def _check() -> None:
    """Raise RuntimeError if the process has capabilities left, is root, or could gain new privileges."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 (pathlib is slow to import)
        found = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    for field in ("CapPrm", "CapEff", "CapAmb"):
        if int(found.get(field, "0"), 16):  # gVisor has no ambient ones
            raise RuntimeError(f"{field} is {found[field]}")
    if "0" in found["Uid"].split() or ctypes.CDLL(None).prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        raise RuntimeError(f"user ids {found['Uid']}, or new privileges are to be had")
