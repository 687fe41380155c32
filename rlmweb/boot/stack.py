"""A whole installation of its own in a folder: for benchmarks and acceptance tests that look at it from outside.

The same children as `manage.py up`, without its supervisor: here a test decides who dies and when it comes back.
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rlmweb.boot import processes
from rlmweb.boot.children import Child, ChildFailed
from rlmweb.boot.embedded import postgres_child, valkey_child
from rlmweb.boot.environment import clean_environment
from rlmweb.boot.installation import Installation

START_TIMEOUT_S = 120.0
OF_THE_MACHINE = frozenset({"RLMWEB_CHROMIUM", "RLMWEB_LOCAL_MODEL", "RLMWEB_LOCAL_MODEL_URL", "RLMWEB_SANDBOX_PYTHON"})
"""What a private installation takes over from the environment: it says what this machine has."""


def own_environment() -> dict[str, str]:
    """The environment of this process without what describes another installation: its services, folders and keys."""
    foreign = {name for name in os.environ if name.startswith("RLMWEB_") and name not in OF_THE_MACHINE}
    foreign |= {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    return {name: value for name, value in clean_environment().items() if name not in foreign}


@dataclass
class Stack:
    """PostgreSQL, Valkey, web, workers and the local sandbox service below `folder`. Use it as a context manager."""

    folder: Path
    workers: int = 1
    threads: int = 8
    warm_sandboxes: int = 2
    throwaway: bool = True
    """PostgreSQL without fsync; False where durability is what is measured."""
    model: bool = False
    extra_environment: dict[str, str] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict, init=False)
    environment: dict[str, str] = field(default_factory=dict, init=False)
    address: str = field(default="", init=False)

    def __enter__(self) -> Stack:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def token(self) -> str:
        """The bearer token of the single user."""
        return self.environment["RLMWEB_OPEN_TOKEN"]

    @property
    def database_url(self) -> str:
        return self.environment["DATABASE_URL"]

    def kill(self, name: str) -> None:
        """`kill -9` the process and whatever it left in its group, and wait until it is gone."""
        child = self.children[name]
        assert child.process is not None
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()

    def restart(self, name: str, *, wait: bool = True) -> None:
        child = self.children[name]
        child.start()
        if wait:
            child.wait_ready(START_TIMEOUT_S)

    def stop(self) -> None:
        for rank in sorted({child.stop_rank for child in self.children.values()}):
            for child in [child for child in self.children.values() if child.stop_rank == rank]:
                child.stop(5)
        if self._listener is not None:
            self._listener.close()

    _listener: socket.socket | None = field(default=None, init=False)

    def _start(self) -> None:
        place = Installation(self.folder)
        environment = self.environment = place.environment(own_environment()) | self.extra_environment
        valkey, environment["REDIS_URL"] = valkey_child(self.folder)
        self._add("valkey", valkey)
        postgres, environment["DATABASE_URL"] = postgres_child(self.folder, throwaway=self.throwaway)
        self._add("postgres", postgres)
        migrate = processes.migrate_child(place, environment)
        migrate.start()
        assert migrate.process is not None
        if migrate.process.wait(START_TIMEOUT_S):
            raise ChildFailed("migrate", "failed", migrate.log)
        self._listener = processes.bind("127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._add("web", processes.web_child(place, environment, self._listener), wait=False)
        self._add("sandboxes", processes.sandboxes_child(place, environment, self.warm_sandboxes), wait=False)
        for n in range(self.workers):
            worker = processes.worker_child(place, environment, self.threads)
            worker.name = f"worker-{n}"
            worker.log = place.log_dir / f"worker-{n}.log"
            worker.argv = [*worker.argv, "--hostname", f"worker-{n}@%h"]
            self._add(worker.name, worker, wait=False)
        if self.model:
            self._add("model", processes.model_child(place, environment), wait=False)
        for child in self.children.values():
            child.wait_ready(START_TIMEOUT_S)

    def _add(self, name: str, child: Child, *, wait: bool = True) -> None:
        self.children[name] = child
        child.start()
        if wait:
            child.wait_ready(START_TIMEOUT_S)
