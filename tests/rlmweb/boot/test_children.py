from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from rlmweb.boot import pidfiles
from rlmweb.boot.children import Child, ChildFailed
from rlmweb.boot.paths import ROOT_DIR
from tests.installations import is_running, wait_for

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(helper.pid, flush=True)
time.sleep(600)
"""


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = """
        import sys, time
        from pathlib import Path
        from rlmweb.boot.children import Child
        child = Child("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], Path(sys.argv[1]))
        child.start()
        print(child.pid, flush=True)
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(parent), str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT_DIR, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
    wait_for(lambda: not is_running(child), "the end of the child", timeout_s=10)


def test_a_child_that_ends_while_starting_shows_its_log(tmp_path: Path) -> None:
    child = Child("broken", [sys.executable, "-c", "import sys; sys.exit('no such table')"], tmp_path / "log")
    child.is_ready = lambda: False
    child.start()
    with pytest.raises(ChildFailed, match="no such table"):
        child.wait_ready(30)


def test_a_child_that_stays_silent_is_reported(tmp_path: Path) -> None:
    child = Child("silent", SLEEPER, tmp_path / "log", is_ready=lambda: False)
    child.start()
    try:
        with pytest.raises(ChildFailed, match="did not answer"):
            child.wait_ready(0.1)
    finally:
        child.stop()


def test_stopping_also_ends_what_ignores_the_request_and_what_it_started(tmp_path: Path) -> None:
    child = Child("stubborn", [sys.executable, "-c", STUBBORN], tmp_path / "log")
    child.start()
    helper = psutil.Process(int(wait_for(lambda: (tmp_path / "log").read_text().strip(), "the helper's number")))
    child.stop(timeout_s=0.2)
    assert not child.is_alive
    wait_for(lambda: not is_running(helper), "the end of the helper", timeout_s=10)


def test_a_leftover_is_stopped_by_its_pid_file(tmp_path: Path) -> None:
    # An interpreter that is still starting may swallow the interrupt, and one that a shell put in the background ignores it.
    heeds = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)"
    announced = [sys.executable, "-c", f"{heeds}; print('up', flush=True); time.sleep(600)"]
    with subprocess.Popen(announced, start_new_session=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        pidfiles.write(tmp_path, "sleeper", process.pid)
        assert pidfiles.stop_leftovers(tmp_path) == ["sleeper"]
        assert process.wait(10) == -signal.SIGINT
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "web.pid").write_text(f"{os.getpid()} 1\n")
    assert pidfiles.stop_leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "garbage", "-1 5", "99999999999 5"])
def test_a_broken_pid_file_is_removed(tmp_path: Path, text: str) -> None:
    (tmp_path / "web.pid").write_text(text)
    assert pidfiles.stop_leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
