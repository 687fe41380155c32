"""The filters, run by an interpreter of their instructions, for both architectures."""

from __future__ import annotations

import errno
import struct

import pytest

from sandboxes.local import seccomp
from sandboxes.local.syscalls import AARCH64, X86_64

ARCHITECTURES = {"x86_64": (0xC000003E, X86_64), "aarch64": (0xC00000B7, AARCH64)}
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
HARMLESS = {"x86_64": {"read": 0, "futex": 202, "execve": 59}, "aarch64": {"read": 63, "futex": 98, "execve": 221}}


def verdict(program: bytes, architecture: int, number: int, first: int = 0) -> int:
    """What the kernel would decide."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, first, 0, 0, 0, 0, 0)
    instructions = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at, accumulator = 0, 0
    while True:
        code, yes, no, value = instructions[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return int(value)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += yes if holds else no


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("name", [*seccomp.KERNEL, *seccomp.OUTSIDE, "socket"])
def test_denied_calls_fail_and_the_others_do_not(machine: str, name: str) -> None:
    architecture, table = ARCHITECTURES[machine]
    program = seccomp.assemble([name], machine=machine)
    if name in table:
        assert verdict(program, architecture, table[name]) == EPERM
    for number in HARMLESS[machine].values():
        assert verdict(program, architecture, number) == ALLOW


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_another_architecture_is_killed(machine: str) -> None:
    program = seccomp.assemble(seccomp.KERNEL, machine=machine)
    other = next(value for name, (value, _) in ARCHITECTURES.items() if name != machine)
    assert verdict(program, other, 0) == KILL
    assert verdict(program, 0x40000003, 0) == KILL  # i386


def test_x32_calls_are_killed() -> None:
    assert verdict(seccomp.assemble([], machine="x86_64"), 0xC000003E, 0x40000000) == KILL


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_new_namespaces_are_refused_and_threads_are_not(machine: str) -> None:
    architecture, table = ARCHITECTURES[machine]
    program = seccomp.assemble([], machine=machine)
    for flag in (0x10000000, 0x20000000, 0x40000000, 0x00020000, 0x04000000, 0x08000000, 0x02000000):
        assert verdict(program, architecture, table["clone"], flag | 17) == EPERM
    assert verdict(program, architecture, table["clone"], 0x003D0F00) == ALLOW
    assert verdict(program, architecture, table["clone3"]) == ENOSYS


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_own_only_calls_may_name_nobody_else(machine: str) -> None:
    architecture, table = ARCHITECTURES[machine]
    program = seccomp.assemble([], own_only=seccomp.OWN_ONLY, machine=machine)
    for name in seccomp.OWN_ONLY:
        assert verdict(program, architecture, table[name], 0) == ALLOW
        assert verdict(program, architecture, table[name], 1) == EPERM


def test_an_unknown_name_is_not_left_out_silently() -> None:
    with pytest.raises(KeyError):
        seccomp.assemble(["ptrce"])
