"""Makes .venv from the lock file and moves into it. Runs under any Python 3.11+ that has pip or ensurepip.

Order: venv without pip -> uv (its hash is in the lock, too) -> the locked set with hashes -> stamp -> re-
exec. See docs/decisions/0002-bootstrap-and-lock-file.md.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rlmweb.boot.paths import LOCK_FILE, ROOT_DIR, VENV_DIR, VENV_PYTHON
from rlmweb.boot.progress import Progress

# Set in containers and by people who manage the environment themselves.
OFF_SWITCH = "RLMWEB_BOOTSTRAP"
STAMP = VENV_DIR / ".rlmweb-stamp"
# Settings of another environment that would send an installation astray.
FOREIGN_VARIABLES = (
    *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "__PYVENV_LAUNCHER__"),
    *("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_PYTHON"),
    *("UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_PROJECT_ENVIRONMENT"),
)
# Runs inside .venv: does it hold exactly what the lock asks for?
IS_ADOPTABLE = """
import re, sys, importlib.metadata as metadata
from packaging.requirements import Requirement
text = open(sys.argv[1]).read().replace("\\\\\\n", " ")
for line in text.splitlines():
    line = re.sub(r"--hash=\\S+", "", line.split("#")[0]).strip()
    if line:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate():
            if metadata.version(wanted.name) not in wanted.specifier:
                sys.exit(1)
"""


class BootstrapFailed(RuntimeError):
    """The environment could not be made; the message says what is missing and how to get it."""


def ensure(arguments: Sequence[str]) -> None:
    """Return when this process runs in an up-to-date .venv; otherwise make it so and re-exec (never returns
    then).
    """
    if is_switched_off():
        return
    inside = Path(sys.prefix).resolve() == VENV_DIR.resolve()
    if STAMP.exists() and STAMP.read_text() == wanted_stamp():
        if inside:
            return
    else:
        _install(Progress())
    environment = clean_environment()
    # The same command again, with the Python of .venv.
    command = [str(VENV_PYTHON), str(ROOT_DIR / "manage.py"), *arguments]
    os.execve(VENV_PYTHON, command, environment)  # noqa: S606


def is_switched_off() -> bool:
    """Whether whoever runs us manages the environment and the services (containers do)."""
    return os.environ.get(OFF_SWITCH, "").lower() in {"off", "0", "false", "no"}


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}


def wanted_stamp() -> str:
    """Changes with the lock, with the Python inside .venv and with the place of the checkout."""
    config = VENV_DIR / "pyvenv.cfg"
    found = re.search(r"^version\w* *= *(\S+)", config.read_text(), re.MULTILINE) if config.exists() else None
    parts = (LOCK_FILE.read_bytes(), (found.group(1) if found else "none").encode(), os.fsencode(ROOT_DIR))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _install(progress: Progress) -> None:
    try:
        from rlmweb.boot.filelock import FileLock
    except ImportError:
        raise BootstrapFailed("Windows is not supported directly; use WSL or docker compose.") from None
    lock = FileLock(ROOT_DIR / ".venv.lock")
    if not lock.try_acquire():
        progress.say("Another run is installing; waiting for it.")
        lock.acquire()
    try:
        if STAMP.exists() and STAMP.read_text() == wanted_stamp():
            return
        STAMP.unlink(missing_ok=True)
        _make_venv(progress)
        if not _is_adoptable():
            _install_locked_set(progress)
        _make_importable()
        STAMP.write_text(wanted_stamp())
        progress.say("The environment is ready.")
    finally:
        lock.release()


def _make_venv(progress: Progress) -> None:
    if VENV_PYTHON.exists() and _succeeds([VENV_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]):
        return
    progress.say(f"Creating {VENV_DIR.name} with Python {sys.version.split()[0]}.")
    _require([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV_DIR], f"could not create {VENV_DIR}")


def _is_adoptable() -> bool:
    """Whether somebody has installed the locked set here already (then nothing needs to be fetched)."""
    return _succeeds([VENV_PYTHON, "-c", IS_ADOPTABLE, LOCK_FILE])


def _install_locked_set(progress: Progress) -> None:
    progress.say("Installing the locked packages (about 1.3 GB on disk; this happens once).")
    uv = _uv(progress)
    command: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--python",
        VENV_PYTHON,
        "-r",
        LOCK_FILE,
    ]
    _require(command, "the packages could not be installed; is the package index reachable?")
    progress.say("Packages installed.")


def _uv(progress: Progress) -> Path:
    """The installer: the one in .venv, the one on the PATH, or the locked one fetched by pip."""
    inside = VENV_DIR / "bin" / "uv"
    if inside.exists() and _succeeds([inside, "--version"]):
        return inside
    on_path = shutil.which("uv")
    if on_path and _succeeds([Path(on_path), "--version"]):
        return Path(on_path)
    pinned = VENV_DIR / "uv.lock"
    pinned.write_text(_entry_of("uv", LOCK_FILE.read_text()))
    flags: list[str | Path] = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
        "-r",
        pinned,
    ]
    # The outer pip can install into .venv since pip 22.3; without one, .venv gets its own.
    with_outer_pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        VENV_PYTHON,
        *flags,
        "--no-compile",
    ]
    if importlib.util.find_spec("pip") is not None and _succeeds(with_outer_pip):
        progress.say("Installer ready.")
        return inside
    missing = "neither pip nor ensurepip is there. On Debian or Ubuntu: apt install python3-venv"
    _require([VENV_PYTHON, "-m", "ensurepip"], missing)
    _require([VENV_PYTHON, "-m", "pip", *flags], "uv could not be installed; is the package index reachable?")
    progress.say("Installer ready.")
    return inside


def _entry_of(package: str, lock: str) -> str:
    """The lines of one package in the lock file, hashes included."""
    found = re.search(rf"^{re.escape(package)}==.*(?:\n[ \t]+--hash.*)*", lock, re.MULTILINE)
    if found is None:
        raise BootstrapFailed(f"{LOCK_FILE.name} does not hold {package}; make the lock file again.")
    return found.group(0) + "\n"


def _make_importable() -> None:
    """Let console scripts of .venv (pytest, mypy, celery) import the project, as an editable installation
    would.
    """
    folder = next(VENV_DIR.glob("lib/python3*/site-packages"))
    (folder / "rlmweb.pth").write_text(f"{ROOT_DIR}\n")


def _succeeds(command: Sequence[str | Path]) -> bool:
    return subprocess.run(command, env=clean_environment(), capture_output=True, cwd=ROOT_DIR).returncode == 0


def _require(command: Sequence[str | Path], otherwise: str) -> None:
    done = subprocess.run(command, env=clean_environment(), cwd=ROOT_DIR, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise BootstrapFailed(otherwise)


if __name__ == "__main__":
    _install(Progress())  # for container images: make the environment and stop there
