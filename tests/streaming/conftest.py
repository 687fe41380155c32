"""JavaScript modules run by the Node that comes with Playwright: no other is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import playwright
import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(playwright.__file__).parent / "driver" / "node"
SCRIPT_TIMEOUT_S = 60

RunModule = Callable[..., Any]


@pytest.fixture(scope="session")
def run_module(tmp_path_factory: pytest.TempPathFactory) -> RunModule:
    """Run a module beside copies of static/js; returns what it printed, as JSON."""
    folder = tmp_path_factory.mktemp("modules")
    shutil.copytree(ROOT / "static" / "js", folder / "js")
    (folder / "package.json").write_text('{"type": "module"}')

    def run(source: str, *arguments: str) -> Any:
        (folder / "main.js").write_text(source)
        command = [str(NODE), str(folder / "main.js"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SCRIPT_TIMEOUT_S, cwd=folder)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
