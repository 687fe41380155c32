"""The corpus in two processes: `take FILE` writes every case down after each of its steps, `compare FILE` brings it back.

The second process makes every namespace anew, by the same steps, and compares. Each prints one JSON object: what was
wrong, by the case and the step.
"""

from __future__ import annotations

import json
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

from sandboxes.manifest import Manifest
from tests.sandboxes.runner.captures import Box, digests, dropped
from tests.sandboxes.runner.corpus import CASES, MODULES, Case
from tests.sandboxes.runner.graphs import assert_same

Taken = dict[str, tuple[list[Manifest], dict[str, bytes]]]


def fresh() -> Box:
    box = Box()
    box.run(f"import {MODULES}")
    return box


def take(case: Case) -> tuple[list[Manifest], dict[str, bytes]]:
    """Snapshots after all steps. Raises `AssertionError` when a step by step one differs from a whole one."""
    box, manifests = fresh(), []
    for number, step in enumerate(case.steps):
        box.run(step)
        manifest = box.snap()
        manifests.append(manifest)
        whole = digests(box.snap_anew())
        differing = {name for name, digest in digests(manifest).items() if whole.get(name) != digest}
        assert not differing, f"after step {number} other digests than by looking at everything: {differing}"
    return manifests, box.store


def compare(case: Case, manifests: list[Manifest], store: dict[str, bytes]) -> None:
    """Raises `AssertionError`."""
    expected = fresh()
    for step, manifest in zip(case.steps, manifests, strict=True):
        expected.run(step)
        restored = Box(store).restored(manifest).held()
        wanted = expected.held()
        assert set(dropped(manifest)) == {name for name in case.dropped if name in wanted}, dropped(manifest)
        assert set(restored) == set(wanted), f"names: {set(restored) ^ set(wanted)}"
        for name in case.dropped:
            wanted.pop(name, None), restored.pop(name, None)
        assert_same(dict(sorted(wanted.items())), dict(sorted(restored.items())))


def main(command: str, path: Path) -> dict[str, str]:
    taken: Taken = {} if command == "take" else pickle.loads(path.read_bytes())  # noqa: S301
    wrong: dict[str, str] = {}
    for case in CASES:
        try:
            if command == "take":
                taken[case.name] = take(case)
            elif case.name in taken:
                compare(case, *taken[case.name])
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told
            wrong[case.name] = _said(error)
    if command == "take":
        path.write_bytes(pickle.dumps(taken))
    return wrong


def _said(error: Exception) -> str:
    return "".join(traceback.format_exception(error, limit=-3))[-1500:]


if __name__ == "__main__":
    result: dict[str, Any] = main(sys.argv[1], Path(sys.argv[2]))
    sys.stdout.write(json.dumps(result))
