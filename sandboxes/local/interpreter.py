"""Which Python runs in the sandbox, which folders it needs, and the runner compiled for it."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sandboxes.errors import InvalidSpec
from sandboxes.runner import bundle

SYSTEM_FOLDERS = ("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/share")
"""Programs, libraries and data of the operating system. Not all of /usr: an installation may live in /usr/src."""
_QUESTION = (
    "import sys, json, os; print(json.dumps([sys.prefix, sys.base_prefix, "
    "os.path.realpath(sys._base_executable), sys.version_info[:2]]))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python for the sandbox: what to start, what to show it read-only, and what in there to hide."""

    executable: str
    folders: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    use_site: bool = False
    """Whether its installed packages belong to the sandbox (only for an interpreter named by the operator)."""


def own_interpreter() -> Interpreter:
    """The running Python without the packages installed for the product."""
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    folders = _folders(sys.base_prefix, executable)
    return Interpreter(executable, folders, _package_folders(folders))


def named_interpreter(path: str) -> Interpreter:
    """An interpreter or virtual environment of the operator's choice, with its packages. Raises `InvalidSpec`."""
    try:
        answer = subprocess.run([path, "-I", "-c", _QUESTION], capture_output=True, text=True, timeout=30, check=True)
        prefix, base_prefix, executable, version = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InvalidSpec(f"RLMWEB_SANDBOX_PYTHON={path} does not run: {error}") from error
    if version < [3, 9]:
        raise InvalidSpec(f"RLMWEB_SANDBOX_PYTHON={path} is Python {version[0]}.{version[1]}; the runner needs 3.9")
    folders = _folders(base_prefix, executable)
    if prefix != base_prefix:
        folders += (prefix,)
    kept = (os.path.realpath(prefix), os.path.realpath(base_prefix))
    hidden = tuple(f for f in _package_folders(folders) if not os.path.realpath(f).startswith(kept))
    return Interpreter(os.path.abspath(path), folders, hidden, use_site=True)


def chosen_interpreter() -> Interpreter:
    path = os.environ.get("RLMWEB_SANDBOX_PYTHON", "")
    return named_interpreter(path) if path else own_interpreter()


def _folders(prefix: str, executable: str) -> tuple[str, ...]:
    """Existing folders to show, none inside another."""
    wanted = [*SYSTEM_FOLDERS, os.path.join(prefix, "lib"), os.path.dirname(executable)]
    found: list[str] = []
    for folder in wanted:
        real = os.path.realpath(folder)
        if os.path.isdir(real) and not any(real == f or real.startswith(f + "/") for f in found):
            found.append(real)
    return tuple(found)


def _package_folders(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Folders with installed packages below `folders`."""
    found = []
    for folder in folders:
        for name in ("site-packages", "dist-packages"):
            found += glob.glob(f"{glob.escape(folder)}/python*/{name}")
    return tuple(sorted(path for path in found if os.path.isdir(path) and not os.path.islink(path)))


def compile_runner(interpreter: Interpreter, source: str, target: Path) -> None:
    """Write `source` compiled for `interpreter` to `target`. Compiled code halves the cold start.

    In a process of its own, and not only because the versions may differ: compiling takes several MB that this process
    would keep for good.
    """
    text = target.with_suffix(".py")
    text.write_text(source)
    script = "import py_compile, sys; py_compile.compile(sys.argv[1], sys.argv[2], '<runner>', doraise=True)"
    subprocess.run([interpreter.executable, "-I", "-S", "-c", script, text, target], check=True, timeout=60)
    text.unlink()


def write_runner(interpreter: Interpreter, folder: Path) -> Path:
    """Compile the runner into `folder`; returns the file."""
    target = folder / "runner.pyc"
    compile_runner(interpreter, bundle.source(), target)
    return target
