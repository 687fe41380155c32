"""The processes of the application, described: web, worker, local sandbox service, model sidecar."""

from __future__ import annotations

import errno
import socket
import sys
from pathlib import Path

from rlmweb.boot.children import Child
from rlmweb.boot.installation import Installation, without_private
from rlmweb.boot.paths import ROOT_DIR

# A browser sends acknowledgements and short commands; anything larger is not ours.
WEBSOCKET_MAX_BYTES = 256 * 1024
BACKLOG = 512
ANSWER_TIMEOUT_S = 30.0
QUEUES = "rlmweb.steps"


class PortTaken(RuntimeError):
    """The address cannot be bound; the message says why and what to try."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket that the web process inherits, so that its restart refuses nobody."""
    try:
        listener = socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"Port {port} is taken by another program; stop it, or choose another port: --port N."
        else:
            reason = f"Cannot listen on {host}:{port}: {error.strerror}."
        raise PortTaken(reason) from None
    listener.set_inheritable(True)
    return listener


def answers_http(listener: socket.socket) -> bool:
    """Whether the web process answers anything at all, an error page included.

    A bare socket: urllib would load TLS and mail into a supervisor that is otherwise only waiting.
    """
    host, port = listener.getsockname()[:2]
    request = b"GET /healthz?only=web HTTP/1.0\r\nHost: localhost\r\n\r\n"
    try:
        with socket.create_connection((reachable(host).strip("[]"), port), timeout=ANSWER_TIMEOUT_S) as client:
            client.sendall(request)
            return client.recv(5) == b"HTTP/"
    except OSError:
        return False


def reachable(host: str) -> str:
    """The host as it stands in an address that this machine can open."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  # nosec B104  # read, not bound
    return anywhere.get(host, f"[{host}]" if ":" in host else host)


def python_child(name: str, arguments: list[str], place: Installation, environment: dict[str, str]) -> Child:
    log = place.log_dir / f"{name}.log"
    return Child(name, [sys.executable, "-m", *arguments], log, env=environment, cwd=ROOT_DIR)


def migrate_child(place: Installation, environment: dict[str, str]) -> Child:
    return python_child("migrate", ["django", "migrate", "--no-input", "-v", "1"], place, environment)


def web_child(place: Installation, environment: dict[str, str], listener: socket.socket) -> Child:
    limit = str(WEBSOCKET_MAX_BYTES)
    options = ["--verbosity", "0", "--no-server-name", "--websocket_timeout", "-1"]
    options += ["--websocket-max-message-size", limit, "--websocket-max-frame-size", limit]
    arguments = ["daphne", "--fd", str(listener.fileno()), *options, "rlmweb.asgi:application"]
    child = python_child("web", arguments, place, environment)
    child.pass_fds = (listener.fileno(),)
    child.is_ready = lambda: answers_http(listener)
    return child


def worker_child(place: Installation, environment: dict[str, str], threads: int) -> Child:
    options = ["--pool", "threads", "--concurrency", str(threads), "--queues", QUEUES]
    options += ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    return python_child("worker", ["celery", "-A", "rlmweb.celery", "worker", *options], place, environment)


def sandboxes_child(place: Installation, environment: dict[str, str], warm_sandboxes: int | None) -> Child:
    path = Path(environment["RLMWEB_LOCAL_SANDBOX_SOCKET"])
    options = [] if warm_sandboxes is None else ["--pool", str(warm_sandboxes)]
    arguments = ["sandboxes.local.service", "--socket", str(path), *options]
    return python_child("sandboxes", arguments, place, without_private(environment))


def model_child(place: Installation, environment: dict[str, str]) -> Child:
    return python_child("model", ["runs.lm.embedded.sidecar"], place, without_private(environment))


def first_session_child(place: Installation, environment: dict[str, str], *, model: bool) -> Child:
    """Starts the session that a new installation opens on, and the first real one once the model is there."""
    options = [] if model else ["--no-model"]
    child = python_child("first-session", ["django", "first_session", *options], place, environment)
    child.once = True
    return child
