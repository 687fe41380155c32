"""A REPL with a clock and a seed gives the same readings and the same chance each time it is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandboxes.runner.host import runner

READINGS = {
    "time": "import time; print(time.time(), time.time_ns(), time.monotonic(), time.perf_counter_ns())",
    "calendar": "import time; print(time.localtime(), time.gmtime(), time.ctime(), time.asctime(), time.strftime('%c'))",
    "datetime": "from datetime import *; print(datetime.now(), datetime.now(timezone.utc), date.today(), datetime.today())",
    "sleep": "import time; a = time.time(); time.sleep(0.01); print(time.time() - a >= 0.01, time.time())",
    "random": "import random; print(random.random(), random.Random().random(), random.SystemRandom().random())",
    "system": "import os, secrets, uuid; print(os.urandom(40), secrets.token_hex(), uuid.uuid4())",
    "names": "import tempfile, random; print(next(tempfile._get_candidate_names()), random.sample(range(99), 5))",
}


def outputs(folder: Path, **setup: float) -> dict[str, str]:
    folder.mkdir()
    with runner(folder) as host:
        host.send({"type": "setup", "id": "s", **setup})
        assert "error" not in host.wait_type("setup_done")
        return {name: host.run(code)["stdout"] for name, code in READINGS.items()}


def test_two_runs_are_equal(tmp_path: Path) -> None:
    first = outputs(tmp_path / "a", clock=1_700_000_000.5, seed=7)
    assert outputs(tmp_path / "b", clock=1_700_000_000.5, seed=7) == first
    assert all(first.values())
    assert first["time"].startswith("1700000000.50")
    assert "2023-11-14 22:13:20.50" in first["datetime"]


def test_what_the_runner_imports_when_idle_is_never_on_the_clock(tmp_path: Path) -> None:
    code = "import concurrent.futures, logging, time, uuid; print(time.time_ns())"
    with runner(tmp_path) as host:
        host.send({"type": "setup", "id": "s", "clock": 1_700_000_000.0, "seed": 7})
        host.wait_type("setup_done")
        assert host.run(code)["stdout"] == "1700000000000001000\n"


def test_tables_draw_alike_and_are_never_on_the_clock(tmp_path: Path) -> None:
    code = "import numpy, pandas, time; print(time.time_ns(), numpy.random.rand(), numpy.random.default_rng().random())"
    printed = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        with runner(folder, "--site", "1") as host:
            host.send({"type": "setup", "id": "s", "clock": 1_700_000_000.0, "seed": 7})
            host.wait_type("setup_done")
            printed.append(host.run(code)["stdout"])
    assert printed[0].startswith("1700000000000001000 0.")
    assert printed[0] == printed[1]


def test_another_clock_and_another_seed_give_something_else(tmp_path: Path) -> None:
    first = outputs(tmp_path / "a", clock=1_700_000_000.0, seed=7)
    second = outputs(tmp_path / "b", clock=1_800_000_000.0, seed=8)
    assert [name for name in READINGS if first[name] == second[name]] == []


@pytest.mark.parametrize(
    "code",
    [
        "import time\nend = time.time() + 0.01\nwhile time.time() < end: pass",
        "import threading; t = threading.Thread(target=print); t.start(); t.join(1)",
        "import queue\ntry: queue.Queue().get(timeout=0.01)\nexcept queue.Empty: pass",
        "import subprocess; subprocess.run(['/bin/true'], timeout=5, check=True)",
        "from datetime import datetime, date; assert isinstance(datetime.now(), datetime) and type(date.today()) is date",
        "import datetime, pickle; assert pickle.loads(pickle.dumps(datetime.datetime.now())).year == 2023",
    ],
)
def test_code_runs_as_ever(tmp_path: Path, code: str) -> None:
    with runner(tmp_path) as host:
        host.send({"type": "setup", "id": "s", "clock": 1_700_000_000.0, "seed": 1})
        finished = host.run(code, timeout_s=10)
        assert finished["status"] == "ok", finished
