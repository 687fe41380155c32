from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlmweb.boot import environment
from rlmweb.boot.paths import LOCK_FILE, ROOT_DIR


def test_every_locked_package_has_hashes_and_no_address() -> None:
    lock = LOCK_FILE.read_text()
    entries = re.findall(r"^[a-z0-9._-]+==.*(?:\n[ \t]+--hash=.*)*", lock, re.MULTILINE)
    assert len(entries) > 50
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in lock


def test_the_installer_itself_is_locked() -> None:
    entry = environment._entry_of("uv", LOCK_FILE.read_text())
    assert entry.startswith("uv==")
    assert entry.count("--hash=sha256:") > 5
    assert "uvicorn" not in entry


def test_variables_of_another_environment_do_not_reach_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    found = environment.clean_environment()
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "PIP_REQUIRE_VIRTUALENV"} & found.keys()
    assert found["PATH"] == os.environ["PATH"]


def test_the_running_environment_is_recognised_as_the_locked_one() -> None:
    assert environment._is_adoptable()


def test_an_environment_without_the_locked_versions_is_not_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "lock"
    other.write_text(LOCK_FILE.read_text().replace("django==5", "django==4"))
    monkeypatch.setattr(environment, "LOCK_FILE", other)
    assert not environment._is_adoptable()


@pytest.mark.slow
def test_a_bare_checkout_makes_its_environment_once_for_two_commands_at_a_time(tmp_path: Path) -> None:
    """Really from nothing, with a lock that holds only the installer and one package. Needs the package index."""
    checkout = bare_checkout(tmp_path / "checkout with a space")
    probe = [sys._base_executable, "-c", PROBE]  # type: ignore[attr-defined]
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "VIRTUAL_ENV": "/elsewhere"}
    variables |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    both = [
        subprocess.Popen(
            probe, cwd=checkout, env=variables, stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("Packages installed" in output for output in outputs) == 1, outputs

    again = subprocess.run(probe, cwd=checkout, env=variables, capture_output=True, text=True, timeout=60)
    assert again.stdout == ""

    (checkout / ".venv" / ".rlmweb-stamp").unlink()
    adopted = subprocess.run(probe, cwd=checkout, env=variables, capture_output=True, text=True, timeout=60)
    assert "The environment is ready" in adopted.stdout
    assert "Installing" not in adopted.stdout


# What manage.py does first, without the jump into .venv.
PROBE = """
from rlmweb.boot import environment
from rlmweb.boot.progress import Progress
if not (environment.STAMP.exists() and environment.STAMP.read_text() == environment.wanted_stamp()):
    environment._install(Progress())
"""


def bare_checkout(folder: Path) -> Path:
    shutil.copytree(ROOT_DIR / "rlmweb" / "boot", folder / "rlmweb" / "boot")
    shutil.copy(ROOT_DIR / "rlmweb" / "__init__.py", folder / "rlmweb")
    lock = LOCK_FILE.read_text()
    entries = [environment._entry_of(name, lock) for name in ("uv", "packaging")]
    (folder / "rlmweb" / "boot" / LOCK_FILE.name).write_text("".join(entries))
    return folder
