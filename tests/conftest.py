"""Fixtures for every room. The data services are started earlier, by tests/services.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from rlmweb.boot import chromium
from rlmweb.boot.paths import VENV_DIR
from tests.installations import RunningUp


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser of the tests. `manage.py test` has looked for it already; a bare pytest looks now."""
    return os.environ.get("RLMWEB_CHROMIUM") or chromium.ensure(VENV_DIR / "tools", print)


@pytest.fixture
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """`manage.py up --no-model` on a free port and a fresh data folder; whatever it leaves behind is killed."""
    running = RunningUp(tmp_path_factory.mktemp("up"))
    running.start()
    try:
        yield running
    finally:
        running.kill_everything()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Tests with transactions of their own empty all tables at their end, which two logs refuse for good reason."""
    from django.db import connection

    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_refuse_truncate")
        cursor.execute("ALTER TABLE quotas_ledgerentry DISABLE TRIGGER quotas_refuse_truncate")
