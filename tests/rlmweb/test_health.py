from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from rlmweb import health
from rlmweb.boot import probe

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLMWEB_DATA_DIR", str(tmp_path))


def test_everything_works_while_a_worker_gives_signs_of_life(client: Client) -> None:
    health.record_worker("celery@test")
    try:
        response = client.get("/healthz")
    finally:
        health.forget_worker("celery@test")
    assert response.status_code == 200
    assert response.json()["parts"] == {"web": "ok", "database": "ok", "redis": "ok", "worker": "ok", "audit": "ok"}


def test_no_worker_is_not_healthy_but_the_web_process_alone_is(client: Client) -> None:
    response = client.get("/healthz")
    assert response.status_code == 503
    assert response.json()["parts"]["worker"] == "no worker"
    assert client.get("/healthz?only=web").status_code == 200


def test_a_lost_server_is_named_without_its_address(client: Client, settings: pytest.FixtureRequest) -> None:
    settings.REDIS_URL = "redis://user:secret@127.0.0.1:1/0"  # type: ignore[attr-defined]
    response = client.get("/healthz")
    assert response.status_code == 503
    assert response.json()["parts"]["redis"] == "unreachable"
    assert b"secret" not in response.content


def test_health_is_read_only(client: Client) -> None:
    assert client.post("/healthz").status_code == 405


def test_the_probe_of_a_worker_follows_its_sign_of_life(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["worker"]) == 1
    assert "has not started" in capsys.readouterr().err
    health.record_worker("celery@test")
    health.forget_worker("celery@test")
    assert probe.main(["worker"]) == 0


@pytest.mark.parametrize("name", ["web", "sandboxes"])
def test_a_probe_says_why_nobody_answers(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RLMWEB_PORT", "1")
    monkeypatch.delenv("RLMWEB_LOCAL_SANDBOX_SOCKET", raising=False)
    assert probe.main([name]) == 1
    assert "does not answer" in capsys.readouterr().err
