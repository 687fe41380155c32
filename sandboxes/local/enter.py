"""Run one command in a sandbox that exists: enter it, give everything up, start the command, wait.

Started by the service as a process of its own with one JSON argument; standard input gives the sign to go, once the
process is in the sandbox's control group. The exit code is the command's (128 + the signal when it was killed).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from typing import Any

from sandboxes.local import confine

_NEW_NAMESPACES = 0x7E020000 & ~0x02000000  # CLONE_NEW{NS,UTS,IPC,USER,PID,NET}; the control group stays
_PR_SET_CHILD_SUBREAPER = 36
EXIT_NOT_FOUND = 127
MIB = 1024 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


def join_namespaces(pid: int) -> None:
    """Become a member of all of `pid`'s namespaces at once; processes started from now on are in its process space."""
    descriptor = os.pidfd_open(pid)
    if _libc.setns(descriptor, _NEW_NAMESPACES) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
    os.close(descriptor)


def limit(request: dict[str, Any]) -> None:
    """The limits that the runner gives to its REPL."""
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_DATA, request["memory_mb"] * MIB),
        (resource.RLIMIT_FSIZE, request["disk_mb"] * MIB),
    ):
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def start(request: dict[str, Any]) -> int:
    """Fork and start the command; returns its process number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.chdir(request["cwd"])
        os.execvpe(request["argv"][0], request["argv"], request["env"])  # noqa: S606  # a shell is not wanted
    except OSError as error:
        sys.stderr.write(f"{request['argv'][0]}: {os.strerror(error.errno or 0)}\n")
        sys.stderr.flush()
    os._exit(EXIT_NOT_FOUND)


def wait(pid: int) -> int:
    """Wait for `pid`, collecting whatever else ends."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def serve(request: dict[str, Any]) -> int:
    """In the sandbox: what the command leaves behind hangs below this process, where the service finds and ends it."""
    if request["tier"] == "bubblewrap":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        confine.drop_privileges()
        limit(request)
        confine.load_filter(bytes.fromhex(request["filter"]))
    else:
        limit(request)
        confine.enter_domain(confine.read_config(request["config"], json.dumps(request["own_rules"])))
    return wait(start(request))


def main() -> None:
    request = json.loads(sys.argv[1])
    sys.stdin.buffer.read(1)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    if request["tier"] != "bubblewrap":
        sys.exit(serve(request))
    join_namespaces(request["pid"])
    pid = os.fork()  # the process space is entered by children only
    if pid == 0:
        os._exit(serve(request))
    sys.exit(wait(pid))
