"""The filter, run by a machine of our own for both architectures: what the kernel would answer to a call."""

import errno
import struct

import pytest

from tutti.base.errors import CannotSandbox
from tutti.sandboxes.seccomp import filter_program

ALLOW, KILL = "allow", "kill"
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
IOCTL = {"x86_64": 16, "aarch64": 29}
ORDINARY = {  # read, write, mmap, execve, exit_group, futex, openat, kill
    "x86_64": (0, 1, 9, 59, 231, 202, 257, 62),
    "aarch64": (63, 64, 222, 221, 94, 98, 56, 129),
}
DENIED = {  # ptrace, mount, unshare, bpf, keyctl, shmget, reboot, process_vm_readv, init_module
    "x86_64": (101, 165, 272, 321, 250, 29, 169, 310, 175),
    "aarch64": (117, 40, 97, 280, 219, 194, 142, 270, 105),
}
machines = pytest.mark.parametrize("machine", ARCHITECTURES)


def answer(machine: str, number: int, *arguments: int, arch: int | None = None) -> str | int:
    """`allow`, `kill` or an errno: classic BPF on the kernel's struct seccomp_data."""
    six = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, arch or ARCHITECTURES[machine], 0, *six)
    program = list(struct.iter_unpack("HBBI", filter_program(machine)))
    at = value = 0
    while True:
        operation, if_true, if_not, operand = program[at]
        at += 1
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                value &= operand
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}
                at += if_true if holds[operation] else if_not
            case 0x06:
                return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(operand, operand & 0xFFFF)
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


@machines
def test_ordinary_calls_are_allowed_and_dangerous_ones_refused(machine: str) -> None:
    assert {answer(machine, number) for number in ORDINARY[machine]} == {ALLOW}
    assert {answer(machine, number) for number in DENIED[machine]} == {errno.EPERM}


@machines
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    assert answer(machine, 1, arch=0x40000003) == KILL


@machines
@pytest.mark.parametrize("number", [457, 1000, 0x40000000 + 1, 0xFFFFFFFF])
def test_calls_that_are_newer_than_the_table_are_not_there(machine: str, number: int) -> None:
    assert answer(machine, number) == errno.ENOSYS


@machines
def test_clone_makes_processes_and_threads_but_no_namespaces(machine: str) -> None:
    assert answer(machine, CLONE[machine], 17) == ALLOW
    assert answer(machine, CLONE[machine], 0x3D0F00) == ALLOW  # a thread of glibc
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(machine, CLONE[machine], flag | 17) == errno.EPERM
    assert answer(machine, 435) == errno.ENOSYS  # clone3


@machines
@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ((1, 1, 0), True),
        ((1, 5, 0), True),
        ((2, 1, 0), True),
        ((2, 0x80801, 6), True),
        ((10, 2, 17), True),
        ((16, 3, 0), True),
        ((16, 3, 15), False),
        ((2, 3, 1), False),
        ((2, 1, 132), False),
        ((2, 1, 262), False),
        ((2, 5, 0), False),
        ((17, 3, 0), False),
        ((38, 5, 0), False),
        ((40, 1, 0), False),
        ((0, 1, 0), False),
    ],
)
def test_sockets_are_unix_tcp_and_udp(machine: str, arguments: tuple[int, ...], allowed: bool) -> None:
    for number in (SOCKET[machine], SOCKET[machine] + (12 if machine == "x86_64" else 1)):
        assert answer(machine, number, *arguments) == (ALLOW if allowed else errno.EAFNOSUPPORT)


@machines
def test_nobody_types_into_a_terminal(machine: str) -> None:
    assert answer(machine, IOCTL[machine], 0, 0x5412) == errno.EPERM
    assert answer(machine, IOCTL[machine], 0, 0xFFFFFFFF_00005412) == errno.EPERM  # the kernel takes 32 bits
    assert answer(machine, IOCTL[machine], 0, 0x5413) == ALLOW


def test_a_machine_that_is_not_in_the_table_has_no_filter() -> None:
    with pytest.raises(CannotSandbox, match="riscv64"):
        filter_program("riscv64")
