"""What a tier of isolation is: how one sandbox is started, and what the service needs to know of it then."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sandboxes.local.interpreter import Interpreter
from sandboxes.local.spec import BoxSpec


@dataclass(slots=True)
class Launched:
    """A sandbox whose runner has been started."""

    process: subprocess.Popen[bytes]
    status_fd: int = -1
    """Where the launcher says the host's number of the runner process, or -1 when it is `process` itself."""
    runner_pid: int = 0
    folders: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all sandboxes of a service share."""

    interpreter: Interpreter
    runner: Path
    folder: Path
    """The service's own folder, mode 0700."""


class Tier(Protocol):
    name: str
    isolation: str
    kill_at_once: bool
    """Whether killing the launched process ends everything in the sandbox. Else the runner itself clears up first."""
    owner: int
    """Whose the files are that the host puts into the workspace; -1: the service's own user."""

    def why_not(self) -> str:
        """Why this tier cannot work here, found cheaply; empty when it may."""

    def launch(self, spec: BoxSpec, box_folder: Path, channel: int) -> Launched:
        """Start the runner with `channel` as its standard input and output."""

    def entry(self, launched: Launched) -> dict[str, Any]:
        """What `enter.py` needs to run a command in the sandbox; `workspace` is the path there."""

    def runner_pid(self, launched: Launched) -> int:
        """The host's number of the supervisor."""

    def open_workspace(self, launched: Launched) -> int:
        """A descriptor of the workspace as the sandbox sees it."""


def make_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def close_quietly(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
