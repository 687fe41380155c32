"""Data services for the other commands: those of the running `up`, or embedded ones for as long as the command runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from rlmweb.boot.embedded import postgres_child, valkey_child
from rlmweb.boot.environment import is_switched_off
from rlmweb.boot.installation import Installation
from rlmweb.boot.paths import data_dir

READY_TIMEOUT_S = 60.0
# They read no data, or (in containers) are run before there is any.
WITHOUT_SERVICES = frozenset({"help", "check", "collectstatic", "diffsettings", "startapp", "version"})
# They wait for what a worker does, and only `up` has workers.
WITH_WORKERS = frozenset({"run_session"})


class NothingRuns(RuntimeError):
    """The command needs a running `up`; the message says on which data folder there is none."""


@contextlib.contextmanager
def data_services(command: str) -> Iterator[None]:
    """Set what Django needs in os.environ. Variables that are set already win; in containers nothing is started."""
    named = os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")
    if named or command.startswith("-") or command in WITHOUT_SERVICES or is_switched_off():
        yield
        return
    place = Installation(data_dir())
    published = place.published_environment()
    if published is not None:
        os.environ.update({name: value for name, value in published.items() if name not in os.environ})
        yield
        return
    if command in WITH_WORKERS:
        raise NothingRuns(
            f"nothing runs on {place.data_dir}. Start it first, in another terminal: python3 manage.py up"
        )
    with _own_services(place, command):
        yield


@contextlib.contextmanager
def _own_services(place: Installation, command: str) -> Iterator[None]:
    place.claim(f"manage.py {command}")
    with contextlib.ExitStack() as stack:
        stack.callback(place.lock.release)
        os.environ.update({name: value for name, value in place.environment().items() if name not in os.environ})
        for variable, make in (("REDIS_URL", valkey_child), ("DATABASE_URL", postgres_child)):
            if not os.environ.get(variable):
                child, os.environ[variable] = make(place.data_dir)
                child.start()
                stack.callback(child.stop)
                child.wait_ready(READY_TIMEOUT_S)
        place.publish(dict(os.environ), f"manage.py {command}")
        stack.callback(place.withdraw)
        yield
