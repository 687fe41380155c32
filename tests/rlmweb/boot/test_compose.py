"""docker-compose.yml without an engine: it is parsed, and the same processes are started from it and found healthy."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from rlmweb.boot.children import Child
from rlmweb.boot.embedded import postgres_child, valkey_child
from rlmweb.boot.paths import ROOT_DIR
from tests.installations import wait_for
from tests.rlmweb.boot import compose

VARIABLES = {
    "POSTGRES_PASSWORD": "not-checked-by-the-embedded-server",
    "RLMWEB_SECRET_KEY": "a-secret-key-of-a-test-that-is-long-enough",
    "RLMWEB_KEYS": Fernet.generate_key().decode(),
    "RLMWEB_ALLOWED_HOSTS": "rlm.example.org",
    "RLMWEB_CSRF_TRUSTED_ORIGINS": "https://rlm.example.org",
}
OURS = ("web", "worker", "sandboxes")


def test_a_missing_secret_is_an_error_of_its_own() -> None:
    for name in VARIABLES:
        with pytest.raises(KeyError, match=name):
            compose.services({key: value for key, value in VARIABLES.items() if key != name})


def test_every_lasting_service_restarts_and_has_a_health_check() -> None:
    for service in compose.services(VARIABLES).values():
        if service.name != "migrate":
            assert service.health, service.name
            assert service.raw["restart"] == "unless-stopped"


def test_whatever_uses_the_database_waits_for_the_migrations() -> None:
    found = compose.services(VARIABLES)
    for name in ("web", "worker"):
        conditions = {other: needs["condition"] for other, needs in found[name].raw["depends_on"].items()}
        assert conditions["migrate"] == "service_completed_successfully"
        assert conditions["postgres"] == conditions["redis"] == "service_healthy"


def test_sandboxes_get_no_secret_and_no_network() -> None:
    service = compose.services(VARIABLES)["sandboxes"]
    assert service.raw["network_mode"] == "none"
    assert not set(VARIABLES.values()) & set(service.environment.values())
    assert not service.environment.keys() & {"DATABASE_URL", "REDIS_URL", "RLMWEB_SECRET_KEY", "RLMWEB_KEYS"}


def test_the_image_holds_every_room_that_its_commands_need() -> None:
    copied = set(re.findall(r"^!(\S+)$", (ROOT_DIR / ".dockerignore").read_text(), re.MULTILINE))
    assert {"manage.py", "rlmweb", "runs", "sandboxes", "static", "templates"} <= copied
    assert compose.services(VARIABLES)["web"].raw["build"]["dockerfile"] == ".docker/Dockerfile"


class Stack:
    """The services of the file as processes on this machine: other places, the same commands and variables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services = compose.services(VARIABLES)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = str(probe.getsockname()[1])
        self.children: list[Child] = []
        self.places: dict[str, str] = {}

    def start_data_services(self) -> None:
        for name, make in (("redis", valkey_child), ("postgres", postgres_child)):
            child, self.places[name] = make(self.folder)
            self._start(child)
            child.wait_ready(60)

    def _start(self, child: Child) -> None:
        child.start()
        self.children.append(child)

    def environment(self, name: str) -> dict[str, str]:
        """The service's variables, with the addresses inside the compose network replaced by those of this machine."""
        values = dict(self.services[name].environment)
        if "DATABASE_URL" in values:
            values |= {"DATABASE_URL": self.places["postgres"], "REDIS_URL": self.places["redis"]}
        moved = {
            "RLMWEB_DATA_DIR": str(self.folder / "data"),
            "RLMWEB_LOCAL_SANDBOX_SOCKET": str(self.folder / "sockets" / "sandboxes.sock"),
        }
        image = {"RLMWEB_BOOTSTRAP": "off", "RLMWEB_STATIC_DIR": str(self.folder / "static"), "C_FORCE_ROOT": "1"}
        return {"PATH": os.environ["PATH"], **values, **moved, **image, "RLMWEB_PORT": self.port}

    def command(self, words: list[str]) -> list[str]:
        assert words[0] == "python"
        places = {"/run/rlmweb": str(self.folder / "sockets"), "0.0.0.0": "127.0.0.1", "=8000": f"={self.port}"}  # noqa: S104
        moved = [sys.executable]
        for word in words[1:]:
            for inside, outside in places.items():
                word = word.replace(inside, outside)
            moved.append(word)
        return moved

    def run(self, name: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        environment = self.environment(name)
        command = self.command(words)
        return subprocess.run(command, cwd=ROOT_DIR, env=environment, capture_output=True, text=True, timeout=180)

    def start(self, name: str) -> None:
        log = self.folder / f"{name}.log"
        command = self.command(self.services[name].command)
        self._start(Child(name, command, log, env=self.environment(name), cwd=ROOT_DIR))

    def is_well(self, name: str) -> bool:
        child = next(child for child in self.children if child.name == name)
        assert child.is_alive, child.log.read_text()
        return self.run(name, self.services[name].health).returncode == 0

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        headers = {"Host": "rlm.example.org", "X-Forwarded-Proto": "https"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own server
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    running = Stack(tmp_path)
    try:
        running.start_data_services()
        yield running
    finally:
        running.stop()


@pytest.mark.slow
def test_the_processes_of_the_file_start_and_are_healthy(stack: Stack) -> None:
    collected = stack.run("web", ["python", "manage.py", "collectstatic", "--no-input", "-v", "0"])
    assert collected.returncode == 0, collected.stderr
    migrated = stack.run("migrate", stack.services["migrate"].command)
    assert migrated.returncode == 0, migrated.stderr
    for name in OURS:
        stack.start(name)
    for name in OURS:
        wait_for(lambda name=name: stack.is_well(name), f"the health of {name}")  # type: ignore[misc]

    status, headers, body = stack.get("/healthz")
    assert (status, json.loads(body)["healthy"]) == (200, True)
    status, headers, _ = stack.get("/admin/login/")
    assert status == 200
    assert "Secure" in headers["Set-Cookie"]
    assert headers["Strict-Transport-Security"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
