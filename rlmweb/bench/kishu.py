"""The reference for durable snapshots: Kishu on the same cells, in an environment of its own.

Kishu (VLDB 2025, arXiv 2406.13856) checkpoints the namespace of a notebook after every cell. Measured is the time of its
two hooks around a cell, which the next cell waits for, and the size of its database.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runs.bench.suite import CannotMeasure

VERSION = "0.3.4"
_PROGRAM = """
import json, os, sys, time
from pathlib import Path

folder, cells = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
os.environ["HOME"] = str(folder)
os.environ["ENV_KISHU_TEST_MODE"] = "1"
os.chdir(folder)
import nbformat
from IPython.core.interactiveshell import InteractiveShell
from kishu.jupyterint import KishuForJupyter
from kishu.notebook_id import NotebookId

notebook = folder / "session.ipynb"
nbformat.write(nbformat.v4.new_notebook(), notebook)
shell = InteractiveShell.instance()
kishu = KishuForJupyter(NotebookId("session", notebook, "kernel"), ip=shell)
kishu.set_session_id(1)
kishu.install_kishu_hooks()
spent_ms = []


def timed(hook):
    def call(*arguments):
        started = time.perf_counter()
        try:
            return hook(*arguments)
        finally:
            spent_ms[-1] += (time.perf_counter() - started) * 1000

    return call


for name in ("pre_run_cell", "post_run_cell"):
    hook = getattr(kishu, name)
    shell.events.unregister(name, hook)
    shell.events.register(name, timed(hook))
for cell in cells:
    spent_ms.append(0.0)
    result = shell.run_cell(cell, store_history=True)
    if not result.success:
        sys.exit(f"cell {len(spent_ms)} failed: {result.error_in_exec or result.error_before_exec}")
print()
print(json.dumps({"step_ms": spent_ms, "stored_bytes": kishu.database_path().stat().st_size}))
"""


@dataclass(frozen=True, slots=True)
class KishuSession:
    """`step_ms` for each cell; `stored_bytes` after the last."""

    step_ms: list[float]
    stored_bytes: int


class Kishu:
    """An environment with the library, made once: `with Kishu() as kishu: kishu.run(cells)`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rlmweb-kishu-")
        self._python = Path(self._folder.name) / "venv" / "bin" / "python"

    def __enter__(self) -> Kishu:
        for command in (
            [sys.executable, "-m", "venv", str(self._python.parent.parent)],
            [
                *(str(self._python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *(f"kishu=={VERSION}", "pandas"),
            ],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode:
                self._folder.cleanup()
                raise CannotMeasure(f"kishu {VERSION} could not be installed: {done.stderr.strip().splitlines()[-1:]}")
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def run(self, cells: list[str], timeout_s: float = 900) -> KishuSession:
        """Run `cells` in a fresh session. Raises `CannotMeasure` when a cell fails under Kishu."""
        with tempfile.TemporaryDirectory(dir=self._folder.name) as name:
            folder = Path(name)
            (folder / "program.py").write_text(_PROGRAM)
            (folder / "cells.json").write_text(json.dumps(cells))
            command = [str(self._python), str(folder / "program.py"), str(folder), str(folder / "cells.json")]
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            raise CannotMeasure(f"kishu {VERSION} failed: {done.stderr.strip().splitlines()[-1:]}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return KishuSession(found["step_ms"], found["stored_bytes"])
