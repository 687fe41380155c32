"""The private installation of benchmarks and acceptance tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlmweb.boot.installation import Installation
from rlmweb.boot.stack import own_environment


def test_a_private_installation_takes_nothing_over_from_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a test run, whose own services would otherwise serve the installation under test as well.
    for name in ("DATABASE_URL", "RLMWEB_DATA_DIR", "RLMWEB_LOCAL_SANDBOX_SOCKET", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.setenv(name, "another's")
    monkeypatch.setenv("RLMWEB_LOCAL_MODEL", "of this machine")
    environment = Installation(tmp_path).environment(own_environment())
    assert "another's" not in environment.values()
    assert environment["RLMWEB_DATA_DIR"] == str(tmp_path)
    assert environment["RLMWEB_LOCAL_MODEL"] == "of this machine"
