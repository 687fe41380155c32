"""The launcher of the Landlock tier: confine this very process, then become the runner.

It runs in the sandbox's interpreter (Python 3.9, standard library only) in front of the runner's own code, which
`interpreter.py` appends. It stays outside every namespace, so each way out is closed by itself: files and signals by
Landlock, sockets and everything that Landlock does not cover by seccomp, privileges by dropping them.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.options import Options

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER = 22, 38, 24, 36
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_SECCOMP_MODE_FILTER = 2
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

# Rights of `struct landlock_ruleset_attr.handled_access_fs`, and the versions that brought them.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_AND_MAKE = 0b1_1111_1111 << 4
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ALL_NETWORK = 0b11  # bind and connect TCP, version 4
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2  # version 6
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11

LOOK = READ_FILE | READ_DIR
RUN = LOOK | EXECUTE
WORK = (RUN | WRITE_FILE | _REMOVE_AND_MAKE | REFER | TRUNCATE) & ~(_MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK)
DEVICE = READ_FILE | WRITE_FILE
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
RIGHTS = {"list": READ_DIR, "look": LOOK, "run": RUN, "work": WORK, "device": DEVICE}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 when it has none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, 1)))


def _handled_files(version: int) -> int:
    handled = EXECUTE | WRITE_FILE | LOOK | _REMOVE_AND_MAKE
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        if version >= since:
            handled |= right
    return handled


def restrict_files(rules: list[tuple[str, str]], version: int) -> None:
    """Enter a Landlock domain: nothing but `rules` (path, key of `RIGHTS`), no TCP, no signals to the outside."""
    handled = _handled_files(version)
    fields = [handled]
    if version >= 4:
        fields.append(_ALL_NETWORK)
    if version >= 6:
        fields.append(_SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS)
    ruleset = _create_ruleset(fields)
    for path, kind in rules:
        _allow(ruleset, path, RIGHTS[kind] & handled)
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _create_ruleset(fields: list[int]) -> int:
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    size = ctypes.c_size_t(len(attributes))
    return _check(_libc.syscall(_CREATE_RULESET, attributes, size, 0), "landlock_create_ruleset")


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, descriptor)
        _check(_libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0), f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)


def scope_repl(version: int) -> None:
    """For the REPL, a domain within the supervisor's: it may signal what it starts and not the supervisor."""
    ruleset = _create_ruleset([0, 0, _SCOPE_SIGNALS])
    _check(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def drop_privileges() -> None:
    """No capability now, none later, none through a program that has some. Works for root and for anyone else."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    for capability in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # past the last that the kernel knows, or not ours to drop
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.syscall(_SYS_CAPSET[os.uname().machine], header, bytes(24)), "capset")


def load_filter(program: bytes) -> None:
    """Load a seccomp filter; it holds for all that this process starts. Needs `no_new_privs`."""
    instructions = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0), "seccomp")


def signals_are_scoped() -> bool:
    """Tried out on our own parent, with the signal that does nothing."""
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return True
    return False


def enter_domain(config: dict[str, Any]) -> int:
    """Give everything up that the sandbox does not grant; returns the version of Landlock."""
    version = landlock_version()
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")
    drop_privileges()
    restrict_files([*config["rules"], *config["own_rules"]], version)
    load_filter(bytes.fromhex(config["filter"]))
    return version


def confine(config: dict[str, Any], options: Options) -> None:
    """Everything at once, for a process that has not read a byte from anybody yet."""
    os.setsid()
    os.closerange(3, 4096)
    version = enter_domain(config)
    # Only a kernel that keeps our signals inside lets us signal "everybody" safely.
    scoped = version >= 6 and signals_are_scoped()
    options.sweep = "all" if scoped else "group"
    inner = bytes.fromhex(config["repl_filter"])
    options.confine_repl = (lambda: scope_repl(version)) if scoped else (lambda: load_filter(inner))


def read_config(path: str, own_rules: str) -> dict[str, Any]:
    with open(path) as stream:
        config: dict[str, Any] = json.load(stream)
    config["own_rules"] = json.loads(own_rules)
    return config


def launch(main: Any, parse: Any) -> None:
    """`launcher CONFIG OWN_RULES [runner options]`."""
    config = read_config(sys.argv[1], sys.argv[2])
    options = parse(sys.argv[3:])
    confine(config, options)
    main(options)
