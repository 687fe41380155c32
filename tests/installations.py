"""A real `manage.py up` for tests: started, watched from outside, and cleaned up whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from rlmweb.boot.paths import ROOT_DIR

T = TypeVar("T")
# What the services of the test run would hand down to the installation under test; so would every RLMWEB_... variable.
OUTER_VARIABLES = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
CHILDREN = ("postgres", "valkey", "web", "worker", "sandboxes")
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 30
POLL_S = 0.05


def wait_for(find: Callable[[], T | None], what: str, timeout_s: float = START_TIMEOUT_S) -> T:
    """Poll until `find` returns something true; the failure says what was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := find()):
        assert time.monotonic() < deadline_s, f"{what} did not happen within {timeout_s} s"
        select.select([], [], [], POLL_S)  # give the processor away between two looks
    return found


def environment_for(data_dir: Path) -> dict[str, str]:
    outer = {name for name in os.environ if name in OUTER_VARIABLES or name.startswith("RLMWEB_")}
    inherited = {name: value for name, value in os.environ.items() if name not in outer}
    return inherited | {"RLMWEB_DATA_DIR": str(data_dir)}


class RunningUp:
    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.output = data_dir / "up.out"
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: dict[int, psutil.Process] = {}

    def start(self) -> None:
        command = [sys.executable, "manage.py", "up", "--port", "0", "--no-model"]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT_DIR,
                env=environment_for(self.data_dir),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(self.is_serving, "the first page")
        wait_for(lambda: self.pids().keys() >= set(CHILDREN), "the start of every child")
        self.remember()

    @property
    def supervisor(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def is_serving(self) -> bool:
        assert self.supervisor.poll() is None, f"up ended early:\n{self.output.read_text()}"
        return "Ready:" in self.output.read_text() and self.status("/healthz?only=web") == 200

    @property
    def address(self) -> str:
        published = json.loads((self.data_dir / "run" / "environment.json").read_text())
        return str(published["address"])

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self.address + path, timeout=30) as response:  # noqa: S310 - our own server
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, FileNotFoundError):
            return 0

    def is_healthy(self) -> bool:
        return self.status("/healthz") == 200

    def pids(self) -> dict[str, int]:
        """The living children by name, as the supervisor wrote them down."""
        found = {}
        for path in (self.data_dir / "run").glob("*.pid"):
            words = path.read_text().split()
            if words and psutil.pid_exists(int(words[0])):
                found[path.stem] = int(words[0])
        return found

    def remember(self) -> None:
        """Note every process below the supervisor, to look for later."""
        for process in psutil.Process(self.supervisor.pid).children(recursive=True):
            self.seen[process.pid] = process

    def alive(self) -> list[psutil.Process]:
        """Those noted before that still run. psutil compares start times, so a reused number does not count."""
        return [process for process in self.seen.values() if is_running(process)]

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to the supervisor alone and wait for its end."""
        self.remember()
        self.supervisor.send_signal(number)
        return self.supervisor.wait(STOP_TIMEOUT_S)

    def kill_everything(self) -> None:
        if self.supervisor.poll() is None:
            self.remember()
            self.supervisor.kill()
            self.supervisor.wait()
        for process in self.alive():
            with contextlib.suppress(psutil.NoSuchProcess):  # it may end by itself meanwhile
                process.kill()


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
