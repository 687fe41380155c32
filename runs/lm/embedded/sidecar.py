"""The model process: gets the weights, then serves them by llama.cpp on the loopback interface until it is told to stop.

    python -m runs.lm.embedded.sidecar --data DIR [--port-file FILE]

A process of its own, because a crash in C++ must not take a worker with it. It is niced: the page stays responsive while
the model thinks. It imports neither Django nor any SDK.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import logging
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from runs.lm.embedded.known import CONTEXT_TOKENS, DEFAULT, MODELS, LocalModel
from runs.lm.embedded.reporting import Endpoint, Places, Report, State, write_endpoint, write_report
from runs.lm.embedded.sources import PackageRegistry, Publisher
from runs.lm.embedded.weights import Stopped, Watcher, WeightsError, find_or_fetch, model_of_file

MOST_THREADS = 4
NICENESS = 5
HEARTBEAT_S = 5.0
PROGRESS_S = 0.5
FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 900.0
PROMPT_CACHE_MIB = 256
PR_SET_PDEATHSIG = 1

log = logging.getLogger("rlmweb.model")


class Sidecar:
    """Fetches, serves and reports. `stop` ends it at any point."""

    def __init__(self, places: Places, port_file: Path, wanted: str, mirror: str) -> None:
        self.places = places
        self.port_file = port_file
        self.stop = threading.Event()
        self.given = Path(wanted) if wanted and wanted not in MODELS else None
        self.model = self._choose(wanted)
        self.sources = (Publisher(mirror), PackageRegistry())
        self.report = Report("absent", self.model.name)
        self._reported_at = 0.0

    def _choose(self, wanted: str) -> LocalModel:
        if self.given is not None:
            return model_of_file(self.given) or DEFAULT
        return MODELS.get(wanted, DEFAULT)

    def run(self) -> None:
        self.port_file.unlink(missing_ok=True)
        heartbeat = threading.Thread(target=self._beat, daemon=True)
        heartbeat.start()
        try:
            path = self._weights()
            server = self._serve(path)
            self.stop.wait()
            del server
        except Stopped:
            log.info("stopped before the model was ready")
        finally:
            self.stop.set()
            self.port_file.unlink(missing_ok=True)
            heartbeat.join()
            self.say("absent")

    # Weights

    def _weights(self) -> Path:
        """Try until the weights are there; a failure is shown, and tried again later or when somebody asks."""
        pause_s = FIRST_PAUSE_S
        watcher = Watcher(self._progress, self.stop.is_set)
        while True:
            self.say("loading")
            try:
                return find_or_fetch(self.model, self.places.folder, self.sources, watcher, given=self.given)
            except (WeightsError, OSError) as error:
                log.warning("no weights: %s", error)
                self.say("failed", error=f"{error}. Trying again in {pause_s:.0f} s.")
            self._pause(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _pause(self, seconds: float) -> None:
        self.places.retry.unlink(missing_ok=True)
        for _ in range(int(seconds)):
            if self.stop.wait(1):
                raise Stopped
            if self.places.retry.exists():
                return

    def _progress(self, size_bytes: int, source: str) -> None:
        self.report = Report("downloading", self.model.name, size_bytes, self.model.size_bytes, source)
        now = time.monotonic()
        if now - self._reported_at >= PROGRESS_S:
            self._reported_at = now
            write_report(self.places, self.report)

    # Serving

    def _serve(self, path: Path) -> Any:
        """Load the model in a thread: the main one stays free for signals, which C++ code would hold up."""
        self.say("loading")
        loaded: list[Any] = []
        failed: list[BaseException] = []
        key = secrets.token_urlsafe(24)

        def load() -> None:
            try:
                loaded.append(start_server(path, self.model, key))
            except Exception as error:  # noqa: BLE001  # whatever C++ throws is shown to the user
                failed.append(error)

        thread = threading.Thread(target=load, daemon=True)
        thread.start()
        while thread.is_alive():
            if self.stop.wait(0.05):
                raise Stopped
        if failed:
            self.say("failed", error=f"llama.cpp could not load the model: {failed[0]}")
            self.stop.wait()
            raise Stopped
        endpoint = Endpoint(f"{loaded[0].listening_address}/v1", key, self.model.name)
        write_endpoint(self.places, endpoint, self.port_file)
        self.say("ready")
        log.info("%s serves at %s", self.model.name, endpoint.url)
        return loaded[0]

    # Reporting

    def say(self, state: State, *, error: str = "") -> None:
        size = self.model.size_bytes if state == "ready" else self.report.bytes
        self.report = Report(state, self.model.name, size, self.model.size_bytes, self.report.source, error)
        write_report(self.places, self.report)

    def _beat(self) -> None:
        while not self.stop.wait(HEARTBEAT_S):
            self.places.status.touch()


def start_server(path: Path, model: LocalModel, key: str) -> Any:
    """llama.cpp's own server, in this process, for this machine and holders of the key only."""
    import xllamacpp

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {model.name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = ""
    params.offline = True
    params.verbosity = 1
    params.n_ctx = CONTEXT_TOKENS
    # One answer at a time: two at once share the same few cores and the same memory for the context.
    params.n_parallel = 1
    params.cache_prompt = True
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.cpuparams.n_threads = min(MOST_THREADS, cores)
    params.cpuparams_batch.n_threads = cores
    return xllamacpp.Server(params)


def die_with_parent() -> None:
    """Linux only. The supervisor sets this too; whoever starts the process by hand gets it as well."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def only_one(places: Places) -> int:
    """The lock that keeps two processes from fetching and serving in one folder; held until the process ends."""
    places.folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(places.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the embedded language model.")
    data_dir = os.environ.get("RLMWEB_DATA_DIR", "")
    parser.add_argument("--data", type=Path, default=data_dir or None, required=not data_dir, help="the data folder")
    parser.add_argument("--port-file", type=Path, help="where to write address and key (default: models/endpoint.json)")
    return parser.parse_args(argv)


def main() -> int:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Must be in the environment before OpenMP is loaded: it then waits a moment instead of spinning on a busy core.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    die_with_parent()
    places = Places(Path(options.data).resolve())
    try:
        only_one(places)
    except BlockingIOError:
        log.error("another model process works in %s", places.folder)
        return 1
    os.nice(NICENESS)
    wanted, mirror = os.environ.get("RLMWEB_LOCAL_MODEL", ""), os.environ.get("RLMWEB_LOCAL_MODEL_URL", "")
    sidecar = Sidecar(places, options.port_file or places.endpoint, wanted, mirror)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sidecar.stop.set())
    sidecar.run()
    # Threads of C++ may still be loading; they have nothing to save.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
