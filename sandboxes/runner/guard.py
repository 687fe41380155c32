"""What a process that was forked to write down or to evaluate a state must not do: Landlock and seccomp, from inside.

Both hold for this process and its threads only, on top of what holds for the whole sandbox. Code of the session may have
replaced what this module calls; then it weakens the protection of its own session, and of nothing else.
"""

from __future__ import annotations

import os

from sandboxes.runner.syscalls import address_of, c_call

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION = 1
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2

# Rights of `struct landlock_ruleset_attr.handled_access_fs`: all that change something, and none that only read.
_WRITE_FILE, _REMOVE_AND_MAKE = 1 << 1, 0b1_1111_1111 << 4
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_WRITES = _WRITE_FILE | _REMOVE_AND_MAKE | _REFER | _TRUNCATE
_SCOPE_SIGNALS = 2
_WITH_TRUNCATE, _WITH_SCOPES = 3, 6
"""Versions of Landlock that brought what is needed, and what is welcome."""

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_DENIED = {
    "x86_64": (57, 58, 59, 322, 62, 200, 234, 129, 297, 424, 112, 109),
    "aarch64": (221, 281, 129, 130, 131, 138, 240, 424, 157, 154),
}
"""fork, vfork, execve, execveat, kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, setsid,
setpgid."""
_CLONE_THREAD = 0x10000
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in `struct seccomp_data`
_EPERM, _ENOSYS = 1, 38


class CannotGuard(Exception):
    """The kernel, or the architecture, does not offer what is needed."""


def forbid_writes() -> None:
    """Enter a Landlock domain in which no file can be changed, made or removed. Raises `CannotGuard`."""
    version = c_call("syscall", _CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    if version < _WITH_TRUNCATE:
        raise CannotGuard("the kernel has no Landlock of version 3 or later")
    attributes = _WRITES.to_bytes(8, "little")
    if version >= _WITH_SCOPES:
        attributes += (0).to_bytes(8, "little") + _SCOPE_SIGNALS.to_bytes(8, "little")
    ruleset = c_call("syscall", _CREATE_RULESET, attributes, len(attributes), 0)
    c_call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if ruleset < 0 or c_call("syscall", _RESTRICT_SELF, ruleset, 0) != 0:
        raise CannotGuard("Landlock refuses a domain of its own")
    os.close(ruleset)


def forbid_processes() -> None:
    """From now on: no new process (threads may be), no program, no signal to anybody. Raises `CannotGuard`."""
    machine = os.uname().machine
    if machine not in _AUDIT_ARCH:
        raise CannotGuard(f"no filter of system calls for this processor ({machine})")
    program = _program(machine)
    address = address_of(program)
    # `struct sock_fprog`: a count, padding, a pointer.
    head = (len(program) // 8).to_bytes(8, "little") + address.to_bytes(8, "little")
    c_call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if c_call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0) != 0:
        raise CannotGuard("the kernel takes no filter of system calls")


def _program(machine: str) -> bytes:
    refused, missing = (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ERRNO | _ENOSYS)
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        # The flags of clone3 are out of a filter's reach; without it the C library uses clone.
        *((_JUMP_EQUAL, 0, 1, _CLONE3), missing),
    ]
    for number in _DENIED[machine]:
        steps += [(_JUMP_EQUAL, 0, 1, number), refused]
    steps += [
        (_JUMP_EQUAL, 0, 3, _CLONE[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_ANY_BIT, 1, 0, _CLONE_THREAD),
        refused,
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(
        code.to_bytes(2, "little") + bytes((true, false)) + value.to_bytes(4, "little")
        for code, true, false, value in steps
    )
