"""The parts of the runner join into one file that an old Python understands and that loads little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

from sandboxes.runner import bundle

FOLDER = Path(bundle.__file__).parent
HEAVY = {"re", "enum", "typing", "collections", "json", "threading", "ctypes", "traceback", "asyncio", "subprocess"}


def top_level_names(source: str) -> list[str]:
    names = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.append(statement.name)
        elif isinstance(statement, ast.Assign):
            names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.append(statement.target.id)
    return names


def test_every_module_is_a_part() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "bundle"}
    assert modules == set(bundle.PARTS)


def test_parts_do_not_take_each_others_names() -> None:
    counts = Counter(name for part in bundle.PARTS for name in top_level_names((FOLDER / f"{part}.py").read_text()))
    assert [name for name, count in counts.items() if count > 1 and name != "TYPE_CHECKING"] == []


def test_parts_do_not_hide_modules_that_other_parts_import() -> None:
    tree = ast.parse(bundle.source())
    imported = {alias.asname or alias.name for s in tree.body if isinstance(s, ast.Import) for alias in s.names}
    assert imported.isdisjoint(top_level_names(bundle.source()))


def test_the_bundle_is_python_3_9() -> None:
    ast.parse(bundle.source(), feature_version=(3, 9))


def test_a_start_loads_no_heavy_module(tmp_path: Path) -> None:
    script = tmp_path / "runner.py"
    script.write_text(bundle.source(entry=False) + "\nimport sys\nsys.stdout.write(' '.join(sys.modules))\n")
    loaded = subprocess.run(
        [sys.executable, "-s", "-S", "-B", str(script)], capture_output=True, text=True, timeout=20, check=True
    )
    assert HEAVY.isdisjoint(loaded.stdout.split())
