"""`manage.py up` with real processes: what it starts, what it restarts, and that nothing is left when it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import psutil
import pytest

from rlmweb.boot.paths import ROOT_DIR
from tests.installations import CHILDREN, RunningUp, environment_for, wait_for


def test_up_serves_heals_its_children_and_leaves_nothing_behind(up: RunningUp) -> None:
    wait_for(up.is_healthy, "a healthy installation")
    assert up.status("/admin/login/") == 200
    for name in CHILDREN:
        kill_and_see_it_return(up, name)
    wait_for(up.is_healthy, "health after every child was killed once")

    assert up.signal(signal.SIGINT) == 0
    assert up.alive() == []
    assert not list((up.data_dir / "run").glob("*.pid"))


def kill_and_see_it_return(up: RunningUp, name: str) -> None:
    before = up.pids()[name]
    psutil.Process(before).kill()
    wait_for(lambda: up.pids().get(name, before) != before, f"the restart of {name}")
    up.remember()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_end_stops_everything(up: RunningUp, number: signal.Signals) -> None:
    assert up.signal(number) == 0
    assert up.alive() == []


def test_nothing_survives_a_killed_supervisor_and_the_data_is_there_again(up: RunningUp) -> None:
    run_django(up, "createsuperuser", "--no-input", "--username", "ada", "--email", "ada@example.org")

    up.signal(signal.SIGKILL)
    wait_for(lambda: not up.alive(), "the end of every child", timeout_s=20)

    up.start()
    wait_for(up.is_healthy, "health of the second start")
    users = run_django(up, "shell", "-v", "0", "-c", PRINT_USERS)
    assert users.split() == ["ada"]


PRINT_USERS = """
from django.contrib.auth.models import User
print(*User.objects.filter(username="ada").values_list("username", flat=True))
"""


def run_django(up: RunningUp, *arguments: str) -> str:
    """A Django command in another process: it finds the services of the running installation by itself."""
    environment = environment_for(up.data_dir) | {"DJANGO_SUPERUSER_PASSWORD": "a-long-test-password"}
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT_DIR, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_second_up_says_who_uses_the_data_or_the_port(up: RunningUp) -> None:
    same_data = second_up(up, str(up.data_dir), "0")
    assert same_data.returncode == 1
    assert up.address in same_data.stderr

    port = up.address.rpartition(":")[2]
    same_port = second_up(up, str(up.data_dir / "other"), port)
    assert same_port.returncode == 1
    assert f"Port {port} is taken" in same_port.stderr


def second_up(up: RunningUp, data_dir: str, port: str) -> subprocess.CompletedProcess[str]:
    environment = environment_for(up.data_dir) | {"RLMWEB_DATA_DIR": data_dir}
    command = [sys.executable, "manage.py", "up", "--port", port, "--no-model"]
    return subprocess.run(command, cwd=ROOT_DIR, env=environment, capture_output=True, text=True, timeout=60)


def test_what_up_publishes_is_for_its_owner_alone(up: RunningUp) -> None:
    published = up.data_dir / "run" / "environment.json"
    assert published.stat().st_mode & 0o077 == 0
    assert (up.data_dir / "keys" / "fernet_key").stat().st_mode & 0o077 == 0
    secrets = json.loads(published.read_text())["environment"]
    environment = psutil.Process(up.pids()["sandboxes"]).environ()
    for name in ("RLMWEB_SECRET_KEY", "RLMWEB_KEYS", "DATABASE_URL", "REDIS_URL", "RLMWEB_OPEN_TOKEN"):
        assert secrets[name]
        assert name not in environment
