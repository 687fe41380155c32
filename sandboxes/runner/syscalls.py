"""Calls into the C library without the `ctypes` package, which takes as long to import as an interpreter to start."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def c_call(name: str, *arguments: Any) -> int:
    """Call a C function that returns an `int`. Integers travel as C `int`, bytes as pointers to them, None as NULL.

    Raises `OSError` when it cannot be called here; a function that fails returns -1 and its errno is lost.
    """
    try:
        import _ctypes  # type: ignore[import-not-found,unused-ignore]

        address = _ctypes.dlsym(_ctypes.dlopen(None, 1), name)  # type: ignore[arg-type,unused-ignore]
        return int(_ctypes.call_cdeclfunction(address, arguments))
    except (ImportError, AttributeError, TypeError):
        pass
    try:
        import ctypes

        return int(getattr(ctypes.CDLL(None), name)(*arguments))
    except (ImportError, AttributeError, TypeError, ctypes.ArgumentError) as error:
        raise OSError(f"{name} cannot be called here: {error}") from error


_CLONE_NUMBER = {"x86_64": 56, "aarch64": 220}
_CLONE_PARENT, _SIGCHLD = 0x8000, 17


def fork_sibling() -> int:
    """Fork a child that belongs to this process's parent; its number, and 0 in the child. Only without other threads.

    What Python and the C library do around a fork for the sake of threads and hooks is left out: the child is to fork
    once more before it runs anything. Raises `OSError` when it cannot be done here.
    """
    number = _CLONE_NUMBER.get(os.uname().machine)
    if number is None:
        raise OSError("no number of clone for this architecture")
    pid = c_call("syscall", number, _CLONE_PARENT | _SIGCHLD, None, None, None, None)
    if pid < 0:
        raise OSError("clone was refused")
    return pid


def fork_without_hooks() -> int:
    """`fork(2)` as the C library does it, without what code asked Python to do around forks. Only without other threads.

    Raises `OSError`.
    """
    pid = c_call("fork")
    if pid < 0:
        raise OSError("the process could not be copied")
    return pid


def address_of(data: bytes) -> int:
    """Where the contents of `data` begin in memory. CPython keeps them, and a final NUL, at the end of the object."""
    return id(data) + bytes.__basicsize__ - 1
