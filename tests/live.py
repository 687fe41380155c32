"""The site as users meet it: a real Daphne on the test's database, and sign-in cookies for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.db import connection
from django.test import Client

from rlmweb.boot.children import Child

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60
BACKLOG = 64


@dataclass(frozen=True)
class Site:
    """`address` has no slash at the end."""

    address: str
    web: Child

    @property
    def log(self) -> Path:
        return self.web.log

    def kill(self) -> None:
        """`kill -9` the web process; connections wait in the listener's queue until `restart`."""
        assert self.web.process is not None
        self.web.process.kill()
        self.web.process.wait()

    def restart(self) -> None:
        self.web.start()
        self.web.wait_ready(START_TIMEOUT_S)

    def cookie(self, user: Any) -> dict[str, str]:
        """The session cookie of `user`, as Playwright takes it."""
        client = Client()
        client.force_login(user)
        value = client.cookies[settings.SESSION_COOKIE_NAME].value
        return {"name": settings.SESSION_COOKIE_NAME, "value": value, "url": self.address}


@contextmanager
def running_site(folder: Path, **environment: str) -> Iterator[Site]:
    """Daphne with the development settings, the test's secret, database and broker, and more in its environment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(BACKLOG)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        os.set_inheritable(listener.fileno(), True)
        web = Child(
            "web",
            [sys.executable, "-m", "daphne", "--fd", str(listener.fileno()), "rlmweb.asgi:application"],
            folder / "web.log",
            env={**service_environment(), **environment},
            cwd=ROOT,
            pass_fds=(listener.fileno(),),
            is_ready=lambda: _answers(address),
        )
        web.start()
        try:
            web.wait_ready(START_TIMEOUT_S)
            yield Site(address, web)
        finally:
            web.stop()


def service_environment() -> dict[str, str]:
    """For processes of the product beside the test: the test's database, data and secret."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    database = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "rlmweb.settings.dev",
        "RLMWEB_SECRET_KEY": settings.SECRET_KEY,
        "RLMWEB_KEYS": ",".join(settings.SECRET_KEYS_AT_REST) or Fernet.generate_key().decode(),
        "DATABASE_URL": database,
        "RLMWEB_DATA_DIR": str(settings.DATA_DIR),
        "RLMWEB_BLOB_DIR": str(settings.BLOB_DIR),
    }


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/healthz?only=web", timeout=5):  # noqa: S310  # our own server
            return True
    except OSError:
        return False


def chromium() -> str:
    """The browser to test with. There is no test without one: a skip would look like a pass."""
    named = os.environ.get("RLMWEB_CHROMIUM", "/usr/bin/chromium")
    if not Path(named).exists():
        raise RuntimeError("no Chromium: run `python3 manage.py test`, or name one in RLMWEB_CHROMIUM")
    subprocess.run([named, "--version"], check=True, capture_output=True, timeout=60)
    return named
