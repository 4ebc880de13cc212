"""A filter of the system calls that code in a sandbox may not make, for the kernel (classic BPF).

It is a deny list, because data science needs most of what a process may do. It denies calls that reach other
processes, namespaces, devices or keys, kernel interfaces with a history of security holes, and calls that
take memory that no limit on processes counts. A call newer than this table gets the answer of a kernel that
lacks it. The numbers are from the kernel's arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h."""

import errno
import platform
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tutti.base.errors import CannotSandbox

_DENIED = {  # name: (x86_64, aarch64); None: the architecture does not have it
    # other processes, and who they are
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "personality": (135, 92),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # kernel interfaces with a history of security holes
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    # the machine
    "syslog": (103, 116),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # memory that belongs to no process
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
_CLONE, _SOCKET, _SOCKETPAIR, _IOCTL = (56, 220), (41, 198), (53, 199), (16, 29)
_CLONE3 = (435, 435)
_NEWEST = 456
"""futex_requeue, the last call of Linux 6.7."""
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the table, and the kernel's AUDIT_ARCH_..."""
_CLONE_NEW = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX, _INET, _INET6, _NETLINK = (1,), (2,), (10,), (16,)
_STREAM_OR_DATAGRAM, _TYPE_MASK = (1, 2), 0xF
_DEFAULT_TCP_UDP = (0, 6, 17)
"""Others make the kernel load modules."""
_ROUTES = (0,)
"""What getifaddrs() asks."""

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16

_Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false, operand."""


def filter_program(machine: str | None = None) -> bytes:
    """Return the filter for bubblewrap's --seccomp. Raise CannotSandbox for a machine that the table
    lacks."""
    name = machine or platform.machine()
    if name not in _MACHINES:
        raise CannotSandbox(f"There is no filter of system calls for {name}.")
    column, arch = _MACHINES[name]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in _program(column, arch))


@dataclass(frozen=True)
class _Argument:
    """A condition: the low half of an argument, masked, is one of `values` or, with `any_bit`, has one of the
    bits."""

    index: int
    values: Sequence[int] = ()
    mask: int = 0xFFFFFFFF
    any_bit: int = 0


def _program(column: int, arch: int) -> Iterator[_Instruction]:
    yield from ((_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL))
    yield (_LOAD, 0, 0, _NUMBER)
    yield from ((_AT_LEAST, 0, 1, _NEWEST + 1), (_RETURN, 0, 0, _refuse(errno.ENOSYS)))
    # Its flags are behind a pointer, which a filter cannot follow; libraries fall back to clone.
    yield from ((_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _refuse(errno.ENOSYS)))
    for numbers in _DENIED.values():
        if (number := numbers[column]) is not None:
            yield from ((_EQUAL, 0, 1, number), (_RETURN, 0, 0, _refuse(errno.EPERM)))
    yield from _rule(_CLONE[column], _refuse(errno.EPERM), _Argument(0, any_bit=_CLONE_NEW))
    yield from _rule(_IOCTL[column], _refuse(errno.EPERM), _Argument(1, (_TIOCSTI, _TIOCLINUX)))
    for numbers in (_SOCKET, _SOCKETPAIR):
        yield from _sockets(numbers[column])
    yield (_RETURN, 0, 0, _ALLOW)


def _sockets(number: int) -> Iterator[_Instruction]:
    ordinary = (_Argument(1, _STREAM_OR_DATAGRAM, _TYPE_MASK), _Argument(2, _DEFAULT_TCP_UDP))
    yield from _rule(number, _ALLOW, _Argument(0, _UNIX))
    yield from _rule(number, _ALLOW, _Argument(0, (*_INET, *_INET6)), *ordinary)
    yield from _rule(number, _ALLOW, _Argument(0, _NETLINK), _Argument(2, _ROUTES))
    yield from _rule(number, _refuse(errno.EAFNOSUPPORT))


def _rule(number: int, action: int, *arguments: _Argument) -> Iterator[_Instruction]:
    """Yield instructions that return `action` if the call and all arguments match, and go on otherwise."""
    tests = [test for argument in arguments for test in _test(argument)]
    yield (_LOAD, 0, 0, _NUMBER)
    yield (_EQUAL, 0, len(tests) + 1, number)
    yield from _with_exits(tests)
    yield (_RETURN, 0, 0, action)


def _test(argument: _Argument) -> Iterator[_Instruction]:
    """Yield instructions that go on after themselves if the condition holds. `_with_exits` puts in the jumps
    to the end of the rule."""
    yield (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * argument.index)
    if argument.any_bit:
        yield (_ANY_BIT, 0, _EXIT, argument.any_bit)
        return
    yield (_AND, 0, 0, argument.mask)
    for left, value in zip(range(len(argument.values) - 1, -1, -1), argument.values, strict=True):
        yield (_EQUAL, left, 0 if left else _EXIT, value)


_EXIT = 255


def _with_exits(tests: Sequence[_Instruction]) -> Iterable[_Instruction]:
    for at, (operation, yes, no, operand) in enumerate(tests):
        yield (operation, yes, len(tests) - at if no == _EXIT else no, operand)


def _refuse(number: int) -> int:
    return 0x00050000 | number
