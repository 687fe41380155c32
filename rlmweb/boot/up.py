"""`manage.py up`: the whole application on this machine, from the services to the printed address, until
Ctrl-C.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence

from rlmweb.boot import pidfiles, processes
from rlmweb.boot.children import Child, ChildFailed
from rlmweb.boot.embedded import EmbeddedError, postgres_child, valkey_child
from rlmweb.boot.installation import AlreadyRunning, Installation
from rlmweb.boot.paths import data_dir
from rlmweb.boot.progress import Progress
from rlmweb.boot.supervisor import StopRequested, Supervisor

SERVICE_TIMEOUT_S = 60.0
WEB_TIMEOUT_S = 120.0
WORKER_THREADS = 8
SMALL_WORKER_THREADS = 2
# One person starts one session at a time, and each that waits costs 9 MB; a cold one takes 26 ms.
WARM_SANDBOXES = 1
PORT_HELP = "port of the web pages (default: 8000; 0 takes any free one)"
SMALL_HELP = "use less memory: no model, two worker threads, no warm sandboxes"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("manage.py up", description="Run rlmweb on this machine until Ctrl-C.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help=PORT_HELP)
    parser.add_argument("--no-model", action="store_true", help="do not run the embedded language model")
    parser.add_argument("--small", action="store_true", help=SMALL_HELP)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    progress = Progress()
    try:
        place = Installation(data_dir())
        place.claim("manage.py up, starting")
        with processes.bind(options.host, options.port) as listener:
            return run(place, listener, options, progress)
    except (AlreadyRunning, processes.PortTaken, EmbeddedError, ChildFailed) as error:
        progress.warn(str(error))
        return 1


def run(place: Installation, listener: socket.socket, options: argparse.Namespace, progress: Progress) -> int:
    for name in pidfiles.stop_leftovers(place.run_dir):
        progress.say(f"Stopped {name}, left over from a run that was killed.")
    supervisor = Supervisor(progress, place.run_dir)
    with supervisor.signals():
        try:
            start(supervisor, place, listener, options)
            supervisor.watch()
        except StopRequested:
            pass
        finally:
            progress.say("Stopping.")
            place.withdraw()
            supervisor.stop_all()
    progress.say("Stopped; nothing is left running.")
    return 0


def start(supervisor: Supervisor, place: Installation, listener: socket.socket, options: argparse.Namespace) -> None:
    environment = place.environment()
    start_data_services(supervisor, place, environment)
    migrate(supervisor, place, environment)
    host, port = listener.getsockname()[:2]
    address = f"http://{processes.reachable(host)}:{port}"
    place.publish(environment, address)
    supervisor.start(processes.web_child(place, environment, listener), WEB_TIMEOUT_S)
    opening = f"{address}/open/{environment['RLMWEB_OPEN_TOKEN']}/" if _is_true(environment) else f"{address}/"
    supervisor.progress.say(f"Ready: {opening}")
    threads = SMALL_WORKER_THREADS if options.small else WORKER_THREADS
    supervisor.start(processes.worker_child(place, environment, threads))
    supervisor.start(processes.sandboxes_child(place, environment, 0 if options.small else WARM_SANDBOXES))
    if not (options.no_model or options.small):
        supervisor.start(processes.model_child(place, environment))
    model = not (options.no_model or options.small)
    supervisor.start(processes.first_session_child(place, environment, model=model))
    supervisor.progress.say("Worker and sandboxes are starting. Ctrl-C stops everything.")


def _is_true(environment: dict[str, str]) -> bool:
    return environment["RLMWEB_SINGLE_USER"].lower() in {"1", "true", "yes", "on"}


def start_data_services(supervisor: Supervisor, place: Installation, environment: dict[str, str]) -> None:
    """The embedded Valkey and PostgreSQL, unless the environment names others. Both start before either is
    waited for.
    """
    started: list[Child] = []
    if not environment.get("REDIS_URL"):
        child, environment["REDIS_URL"] = valkey_child(place.data_dir)
        started.append(child)
        supervisor.start(child)
    if not environment.get("DATABASE_URL"):
        if not (place.data_dir / "postgres").exists():
            supervisor.progress.say("Creating the database.")
        child, environment["DATABASE_URL"] = postgres_child(place.data_dir)
        started.append(child)
        supervisor.start(child)
    for child in started:
        supervisor.wait_ready(child, SERVICE_TIMEOUT_S)
    names = " and ".join(child.name for child in started) or "external services only"
    supervisor.progress.say(f"Data services: {names}.")


def migrate(supervisor: Supervisor, place: Installation, environment: dict[str, str]) -> None:
    database_url = environment["DATABASE_URL"]
    if not place.needs_migration(database_url):
        return
    supervisor.progress.say("Preparing the database tables.")
    child = processes.migrate_child(place, environment)
    code = supervisor.run_once(child)
    if code:
        raise ChildFailed("migrate", f"ended with status {code}", child.log)
    place.mark_migrated(database_url)
