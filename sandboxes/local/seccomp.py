"""Seccomp filters, assembled here: classic BPF is a dozen instructions, and so the product needs no native library.

A deny-list: the sandbox runs any Python code, numpy and subprocesses included. It takes away what reaches into the
kernel, into other processes or out of the namespaces. The architecture is checked first, so that a call made through
another one (i386, x32) cannot be mistaken.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable

from sandboxes.local.syscalls import AARCH64, X86_64

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in `struct seccomp_data`
_X32_BIT = 0x40000000
_NEW_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_TABLES = {"x86_64": X86_64, "aarch64": AARCH64}

KERNEL = (
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise", "process_mrelease",
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "fsopen", "fsconfig", "fsmount", "fspick",
    "move_mount", "open_tree", "open_tree_attr", "mount_setattr", "open_by_handle_at", "name_to_handle_at",
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "fanotify_init", "vmsplice", "keyctl", "add_key", "request_key", "kexec_load", "kexec_file_load", "init_module",
    "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd",
    "lookup_dcookie", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm", "syslog",
    "personality", "modify_ldt", "mbind", "set_mempolicy", "migrate_pages", "move_pages", "mknod", "mknodat",
    "sched_setaffinity",
)  # fmt: skip
"""Refused in every tier."""

OUTSIDE = (
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes",
    "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr",
    "fremovexattr", "removexattrat", "file_setattr", "shmget", "msgget", "semget", "mq_open",
    "inotify_add_watch", "fanotify_mark", "setpriority", "ioprio_set",
)  # fmt: skip
"""Refused where the host's files and IPC objects are in reach of names: Landlock does not cover these calls."""

OWN_ONLY = ("prlimit64", "sched_setscheduler", "sched_setparam", "sched_setattr")
"""Where the host's processes are in reach of numbers: allowed on the calling process (number 0) only."""

SIGNALS = (
    "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "setsid", "setpgid",
)  # fmt: skip
"""Refused to the REPL where the kernel cannot confine signals to the sandbox."""

Instruction = tuple[int, int, int, int]


def why_not() -> str:
    machine = platform.machine()
    return (
        "" if machine in _TABLES else f"no seccomp filter for this processor ({machine}); x86_64 and aarch64 have one"
    )


def _return_errno(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def assemble(denied: Iterable[str], *, own_only: Iterable[str] = (), machine: str = "") -> bytes:
    """The filter for `machine` (this one when empty): `denied` calls fail with EPERM, `own_only` ones unless their
    first argument is 0. Raises `KeyError` for an architecture or a call that the tables do not know."""
    machine = machine or platform.machine()
    table = _TABLES[machine]
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        program += [(_JUMP_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL_PROCESS)]
    # The flags of clone3 are behind a pointer, out of reach of a filter; without it the C library uses clone.
    program += [(_JUMP_EQUAL, 0, 1, table["clone3"]), _return_errno(errno.ENOSYS)]
    for number in _numbers(table, denied):
        program += [(_JUMP_EQUAL, 0, 1, number), _return_errno(errno.EPERM)]
    for number in _numbers(table, own_only):
        program += [
            (_JUMP_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_EQUAL, 1, 0, 0),
            _return_errno(errno.EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]
    program += [
        (_JUMP_EQUAL, 0, 3, table["clone"]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACE_FLAGS),
        _return_errno(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _numbers(table: dict[str, int], names: Iterable[str]) -> list[int]:
    """Numbers of the calls that exist on this architecture."""
    known = {name for every in _TABLES.values() for name in every}
    for name in (wanted := list(names)):
        if name not in known:
            raise KeyError(name)
    return [table[name] for name in wanted if name in table]


def namespaced_filter() -> bytes:
    """For a sandbox with namespaces of its own."""
    return assemble(KERNEL)


def landlock_filter() -> bytes:
    """For a sandbox on the host's file tree and network."""
    return assemble((*KERNEL, *OUTSIDE, "socket"), own_only=OWN_ONLY)


def repl_filter() -> bytes:
    """On top of `landlock_filter`, for the REPL process where signals cannot be scoped."""
    return assemble(SIGNALS)
