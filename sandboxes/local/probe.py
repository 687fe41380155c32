"""Run as a cell in a sandbox of each tier before the tier is used: tries to get out and says what happened.

The text of this file is the code of the cell; `FACTS` is put in front of it. Standard library only.
"""

# ruff: noqa: F821, BLE001
# mypy: ignore-errors

import contextlib
import json
import os
import socket
import stat

results = {}


def attempt(name, action):
    """Note the outcome of `action`: the error that stopped it, or what it got."""
    try:
        results[name] = f"worked: {action()!r}"[:200]
    except BaseException as error:
        results[name] = f"refused: {type(error).__name__}"


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(0.5)
        stream.connect(address)


def send_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.sendto(b"x", ("192.0.2.1", 53))


def read(path):
    with open(path, "rb") as stream:
        return stream.read(64)


def write(path):
    with open(path, "wb") as stream:
        stream.write(b"x")


def foreign_environment():
    """The environment of the service, as far as processes can be seen at all."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if FACTS["secret"].encode("latin-1") in read_all(f"/proc/{name}/environ"):
                    return name
    raise PermissionError


def read_all(path):
    with open(path, "rb") as stream:
        return stream.read()


def open_foreign_descriptors():
    """Open any descriptor of the supervisor through /proc; their numbers alone are no secret."""
    folder = f"/proc/{os.getppid()}/fd"
    opened = []
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            os.close(os.open(f"{folder}/{name}", os.O_RDWR | os.O_NONBLOCK))
            opened.append(name)
    if not opened:
        raise PermissionError
    return opened


def find_foreign_sockets():
    """Sockets that this process inherited, besides its one line to the supervisor."""
    found = []
    for descriptor in range(3, 4096):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                found.append(descriptor)
    if len(found) < 2:
        raise PermissionError
    return found


def system_call(name, *arguments):
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


attempt("tcp", lambda: connect(socket.AF_INET, ("127.0.0.1", FACTS["port"])))
attempt("udp", send_datagram)
attempt("abstract socket", lambda: connect(socket.AF_UNIX, "\0" + FACTS["abstract"]))
attempt("host file", lambda: read(FACTS["canary"]))
attempt("product source", lambda: read(FACTS["source"]))
attempt("service environment", foreign_environment)
attempt("write beside the service", lambda: write(FACTS["escape"]))
attempt("write to /usr", lambda: write("/usr/rlmweb-escaped"))
attempt("write to /etc", lambda: write("/etc/rlmweb-escaped"))
attempt("supervisor memory", lambda: read(f"/proc/{os.getppid()}/mem"))
attempt("supervisor descriptors", open_foreign_descriptors)
attempt("inherited sockets", find_foreign_sockets)
attempt("unshare", lambda: system_call("unshare", 0x10000000))
attempt("ptrace", lambda: system_call("ptrace", 16, os.getppid(), 0, 0))
attempt("signal to the service", lambda: os.kill(FACTS["service"], 0))
results["environment"] = sorted(set(os.environ) - set(FACTS["environment"]))
print(json.dumps(results))
