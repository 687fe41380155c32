from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection

from rlmweb import checks
from rlmweb.boot.paths import ROOT_DIR
from rlmweb.settings import env


@pytest.fixture(autouse=True)
def _no_problems_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "PROBLEMS", [])


def test_the_project_passes_its_own_checks() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.django_db
def test_the_database_is_postgresql() -> None:
    assert connection.vendor == "postgresql"


@pytest.mark.parametrize(("raw", "value"), [("true", True), ("1", True), ("OFF", False), ("no", False), ("", True)])
def test_a_flag_is_read(monkeypatch: pytest.MonkeyPatch, raw: str, value: bool) -> None:
    monkeypatch.setenv("RLMWEB_X", raw)
    assert env.flag("RLMWEB_X", True) is value
    assert env.PROBLEMS == []


def read_odd_flag() -> object:
    return env.flag("RLMWEB_X", False)


def read_odd_number() -> object:
    return env.whole_number("RLMWEB_X", 7, least=1, most=10)


def read_odd_database() -> object:
    return env.database("RLMWEB_X", "postgresql://u@h/d")["NAME"]


def read_odd_redis() -> object:
    return env.redis("RLMWEB_X", "redis://h")


@pytest.mark.parametrize(
    ("read", "raw", "default"),
    [
        (read_odd_flag, "maybe", False),
        (read_odd_number, "ten", 7),
        (read_odd_number, "11", 7),
        (read_odd_database, "mysql://u@h/d", "d"),
        (read_odd_database, "postgresql://u@h", "d"),
        (read_odd_redis, "http://h", "redis://h"),
    ],
)
def test_an_odd_value_is_refused_and_named(
    monkeypatch: pytest.MonkeyPatch, read: object, raw: str, default: object
) -> None:
    monkeypatch.setenv("RLMWEB_X", raw)
    assert callable(read)
    assert read() == default
    assert [problem.variable for problem in env.PROBLEMS] == ["RLMWEB_X"]
    assert [message.id for message in checks.environment_is_readable(None)] == ["rlmweb.E001"]
    with pytest.raises(ImproperlyConfigured, match="RLMWEB_X"):
        env.refuse_problems()


def test_an_origin_with_a_path_and_a_relative_folder_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLMWEB_X", "https://a.example/path")
    env.origins("RLMWEB_X")
    monkeypatch.setenv("RLMWEB_X", "data, /srv/data")
    assert env.folders("RLMWEB_X") == (Path("/srv/data"),)
    assert len(env.PROBLEMS) == 2


def test_a_database_on_a_unix_socket_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLMWEB_X", "postgresql://me@%2Fsome%2Ffolder/name")
    found = env.database("RLMWEB_X", "postgresql://u@h/d")
    assert (found["HOST"], found["USER"], found["NAME"]) == ("/some/folder", "me", "name")


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://host:6379/2", "redis://host:6379/2"),
        ("rediss://user:secret@host/0", "rediss://user:secret@host/0"),
        ("unix:///run/v.sock", "redis+socket:///run/v.sock?virtual_host=0"),
        ("unix:///run/v.sock?db=3", "redis+socket:///run/v.sock?virtual_host=3"),
    ],
)
def test_celery_gets_the_same_server_in_its_own_spelling(redis_url: str, broker_url: str) -> None:
    assert env.broker_of(redis_url) == broker_url


def test_keys_at_rest_must_be_fernet_keys_and_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    monkeypatch.setenv("RLMWEB_X", ",".join(keys))
    assert env.fernet_keys("RLMWEB_X") == tuple(keys)
    monkeypatch.setenv("RLMWEB_X", f"{keys[0]},shortkey")
    assert env.fernet_keys("RLMWEB_X") == ()
    assert [problem.message for problem in env.PROBLEMS] == ["RLMWEB_X holds no Fernet key in place 2."]


def test_single_user_mode_for_other_hosts_is_warned_of(settings: pytest.FixtureRequest) -> None:
    settings.SINGLE_USER = True  # type: ignore[attr-defined]
    settings.ALLOWED_HOSTS = ["rlm.example.org"]  # type: ignore[attr-defined]
    assert [message.id for message in checks.single_user_stays_on_this_machine(None)] == ["rlmweb.W001"]
    settings.ALLOWED_HOSTS = ["localhost"]  # type: ignore[attr-defined]
    assert checks.single_user_stays_on_this_machine(None) == []


def test_only_json_travels_through_the_broker() -> None:
    assert settings.CELERY_ACCEPT_CONTENT == ["json"]
    assert settings.CELERY_TASK_SERIALIZER == "json"
    assert settings.CELERY_TASK_IGNORE_RESULT


def production(**variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import rlmweb.asgi; print('served')"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RLMWEB_")}
    environment = inherited | {"DJANGO_SETTINGS_MODULE": "rlmweb.settings.prod"} | variables
    return subprocess.run(command, cwd=ROOT_DIR, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"RLMWEB_SECRET_KEY": "short"}, "RLMWEB_SECRET_KEY"),
        ({"RLMWEB_KEYS": ""}, "RLMWEB_KEYS"),
        ({"RLMWEB_KEYS": "no-fernet-key"}, "RLMWEB_KEYS"),
        ({"RLMWEB_SINGLE_USER": "perhaps"}, "RLMWEB_SINGLE_USER"),
        ({"DATABASE_URL": "sqlite:///x"}, "DATABASE_URL"),
    ],
)
def test_production_does_not_start_half_configured(broken: dict[str, str], complaint: str) -> None:
    complete = {"RLMWEB_SECRET_KEY": "k" * 50, "RLMWEB_KEYS": Fernet.generate_key().decode()}
    done = production(**(complete | broken))
    assert done.returncode != 0
    assert complaint in done.stderr
    assert "served" not in done.stdout


@pytest.mark.parametrize("url", ["blobs", "s3://", "s3://key:hush@bucket", "s3://bucket?zone=1"])
def test_an_address_of_no_blob_store_is_told(settings: Any, url: str) -> None:
    settings.BLOB_STORE_URL = url
    found = checks.blob_store_has_an_address(None)
    assert [message.id for message in found] == ["rlmweb.E003"]
    assert "hush" not in str(found)
    assert checks.blob_store_can_be_used(None) == []


def test_a_blob_store_that_cannot_be_used_is_told(settings: Any, tmp_path: Path) -> None:
    settings.BLOB_STORE_URL = (tmp_path / "blobs").as_uri()
    assert checks.blob_store_can_be_used(None) == []
    (tmp_path / "file").touch()
    settings.BLOB_STORE_URL = (tmp_path / "file" / "blobs").as_uri()
    found = checks.blob_store_can_be_used(None)
    assert [message.id for message in found] == ["rlmweb.E004"]
    assert "disk space" in str(found[0].hint)
