"""How a runner is started: `runner.py [--workspace DIR] [--memory-mb N] ...`; every option has a default."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _nothing() -> None:
    """No further confinement of the REPL than what the sandbox gives."""


class Options:
    def __init__(self) -> None:
        self.workspace = os.getcwd()
        self.memory_mb = 0
        self.processes = 0
        self.disk_mb = 0
        self.site = 0
        """1: the interpreter's installed packages belong to the sandbox."""
        self.relay = 0
        """1: a relay stands between this and the host; it is told how many parked copies there are."""
        self.gpu = 0
        """1: the sandbox has a GPU, whose driver reserves more addresses than memory is allowed."""
        self.sweep = "group"
        """Which processes belong to the sandbox: see `ReplProcess`."""
        self.confine_repl: Callable[[], None] = _nothing
        """Called in the REPL process before any code of a cell; set by launchers that confine it further."""


class UsageError(Exception):
    pass


def parse(arguments: list[str]) -> Options:
    """Raises `UsageError`. `argparse` is not used: importing it takes longer than the rest of the start."""
    options = Options()
    words = list(arguments)
    while words:
        name = words.pop(0)
        if not words:
            raise UsageError(f"{name} needs a value")
        value = words.pop(0)
        if name == "--workspace":
            options.workspace = os.path.abspath(value)
        elif name in ("--memory-mb", "--processes", "--disk-mb", "--site", "--relay", "--gpu") and value.isdigit():
            setattr(options, name[2:].replace("-", "_"), int(value))
        elif name == "--sweep" and value in ("all", "group"):
            options.sweep = value
        else:
            raise UsageError(f"unknown option or value: {name} {value}")
    return options
