"""From a fresh clone to the first page, again, and what the idle application weighs.

The clone is made with git from this checkout's HEAD into an empty folder, with empty package caches, and started as a new
user would: `python3 manage.py up`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from rlmweb.bench.outside import Outside, wait_until
from rlmweb.boot.paths import ROOT_DIR
from runs.bench.bars import Target
from runs.bench.suite import Bench, CannotMeasure, suite

START = suite("start", "From a fresh clone to the first page and the first answer.")

FIRST = "fresh clone to first page"
SECOND = "second start to first page"
MEMORY = "idle memory without the model"
ANSWER = "first session answered by the embedded model"
QUIET_S = 15.0
"""How long the idle application is left alone before it is weighed."""


@START.measurement(
    Target(FIRST, "s", at_most=60),
    Target(SECOND, "s", at_most=6),
    Target(MEMORY, "MB", at_most=300),
    Target(ANSWER, "s", at_most=60),
)
def start(bench: Bench) -> None:
    with tempfile.TemporaryDirectory(prefix="rlmweb-start-") as folder:
        clone = _clone(Path(folder))
        environment = _clean_environment(Path(folder))
        with _up(clone, environment, "--no-model") as (_, seconds):
            bench.record(FIRST, seconds, note="empty package caches; installs everything")
            client = _client(clone)
            wait_until("the first session", lambda: client.rows("SELECT 1 FROM runs_session"), 120)
            wait_until("its end", lambda: not client.rows("SELECT 1 FROM runs_session WHERE status = 'running'"), 120)
        with _up(clone, environment, "--no-model") as (process, seconds):
            bench.record(SECOND, seconds)
            wait_until("quiet", _after(QUIET_S), QUIET_S + 5)
            bench.record(MEMORY, _proportional_mb(process.pid), note="sum of PSS, all processes")
        weights = os.environ.get("RLMWEB_LOCAL_MODEL", "")
        if not weights:
            bench.miss(ANSWER, "set RLMWEB_LOCAL_MODEL to the weights' file: the bar is with the weights present")
            return
        bench.record(ANSWER, _first_answer_s(clone, environment | {"RLMWEB_LOCAL_MODEL": weights}))


def _first_answer_s(clone: Path, environment: dict[str, str]) -> float:
    """From the first page to the answer of the session that a new installation starts with."""
    shutil.rmtree(clone / ".data")
    with _up(clone, environment):
        began = time.monotonic()
        client = _client(clone)
        wait_until("a session by the embedded model", lambda: _real_sessions(client), 120)
        client.wait_for([_real_sessions(client)[0]], 180)
        return time.monotonic() - began


def _client(clone: Path) -> Outside:
    published = json.loads((clone / ".data" / "run" / "environment.json").read_text())
    variables = published["environment"]
    return Outside(published["address"], variables["RLMWEB_OPEN_TOKEN"], variables["DATABASE_URL"])


def _real_sessions(client: Outside) -> list[str]:
    rows = client.rows("SELECT uuid::text FROM runs_session WHERE config->'root'->>'api' = 'embedded' ORDER BY id")
    return [uuid for (uuid,) in rows]


def _clone(folder: Path) -> Path:
    clone = folder / "rlmweb"
    done = subprocess.run(
        ["git", "clone", "--quiet", str(ROOT_DIR), str(clone)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotMeasure(f"git clone failed: {done.stderr.strip()}")
    return clone


def _clean_environment(folder: Path) -> dict[str, str]:
    """That of a new user: no caches, nothing of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RLMWEB_", "DJANGO_"))}
    for name in ("DATABASE_URL", "REDIS_URL", "VIRTUAL_ENV", "PYTHONPATH"):
        kept.pop(name, None)
    return kept | {"XDG_CACHE_HOME": str(folder / "cache"), "UV_CACHE_DIR": str(folder / "cache" / "uv")}


@contextmanager
def _up(clone: Path, environment: dict[str, str], *options: str) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """`manage.py up` on a free port, and the seconds from its start to the first page."""
    python = shutil.which("python3", path=os.pathsep.join(_system_path())) or sys.executable
    began = time.monotonic()
    process = subprocess.Popen(
        [python, "manage.py", "up", "--port", "0", *options],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        address = _printed_address(process)
        wait_until("the first page", lambda: _answers(address), 120)
        yield process, time.monotonic() - began
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.stdout is not None:
            process.stdout.close()


def _system_path() -> list[str]:
    """PATH without the environment this runs in: a new user has a plain Python."""
    inside = str(Path(sys.prefix) / "bin")
    return [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != inside]


def _printed_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if found := re.search(r"http://\S+/open/\S+/", line):
            return found.group()
    raise CannotMeasure(f"manage.py up printed no address: {''.join(printed)[-1000:]}")


def _answers(address: str) -> bool:
    try:
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(address, timeout=30) as response:
            return int(response.status) == 200
    except urllib.error.HTTPError as error:
        raise CannotMeasure(f"the first page answered {error.code}") from error
    except OSError:
        return False


def _after(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline


def _proportional_mb(pid: int) -> float:
    """PSS of a process and all its descendants: shared pages are counted once."""
    top = psutil.Process(pid)
    processes = [top, *top.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes) / 1e6
