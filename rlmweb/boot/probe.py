"""Health probes for containers, quick because they import nothing: `python -m rlmweb.boot.probe web|worker|sandboxes`.

Ends with status 0 when that process works and 1, with the reason, when it does not.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from rlmweb.boot.paths import data_dir

TIMEOUT_S = 5.0
WORKER_SILENT_AFTER_S = 15.0


class Unwell(Exception):
    """The process does not work; the text says how that was seen."""


def worker_sign() -> Path:
    """The file whose time a worker renews. Named by the host, because several workers may share the data folder."""
    return data_dir() / "run" / f"worker-{socket.gethostname()}.alive"


def probe_worker() -> None:
    try:
        silent_s = time.time() - worker_sign().stat().st_mtime
    except FileNotFoundError:
        raise Unwell("the worker has not started") from None
    if silent_s > WORKER_SILENT_AFTER_S:
        raise Unwell(f"the worker has been silent for {silent_s:.0f} s")


def probe_web() -> None:
    """Asks as a visitor of the first allowed host, since Django refuses any other name."""
    host = os.environ.get("RLMWEB_ALLOWED_HOSTS", "localhost").split(",")[0].strip().lstrip(".*") or "localhost"
    port = os.environ.get("RLMWEB_PORT", "8000")
    request = urllib.request.Request(f"http://127.0.0.1:{port}/healthz?only=web", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310  # nosec B310  # the address is ours
            return
    except urllib.error.HTTPError as error:
        raise Unwell(f"the web process answers with status {error.code}") from error
    except OSError as error:
        raise Unwell(f"the web process does not answer: {error}") from error


def probe_sandboxes() -> None:
    path = os.environ.get("RLMWEB_LOCAL_SANDBOX_SOCKET") or str(data_dir() / "run" / "sandboxes.sock")
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(path)
            client.sendall(b'{"id": 1, "op": "ping"}\n')
            if not client.recv(1):
                raise Unwell("the sandbox service closes its connections")
    except OSError as error:
        raise Unwell(f"the sandbox service does not answer: {error}") from error


PROBES: dict[str, Callable[[], None]] = {"web": probe_web, "worker": probe_worker, "sandboxes": probe_sandboxes}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PROBES:
        print(f"usage: python -m rlmweb.boot.probe {'|'.join(PROBES)}", file=sys.stderr)
        return 2
    try:
        PROBES[arguments[0]]()
    except Unwell as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
