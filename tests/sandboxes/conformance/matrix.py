"""What ran where: every case over every provider, and the capability for want of which one was skipped."""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.wire.rig import Rig, available, open_rig

MODULES = ("create", "exec", "channel", "files", "snapshots", "life", "errors")
RAN = "ran"
HEAD = """# Conformance

One suite runs over this machine and over every vendor: the vendor's real client (or our own, where it has none), our
adapter, and a server of ours that speaks the vendor's protocol over real folders and processes. `direct` and
`direct_text` are that engine without a vendor, with streams of bytes and of text. A case is skipped through a declared
capability only, and the table names it: `no wire` where there is none that can be disturbed, and `no keys` where none
are asked for. The table is made from the suite and held to it by a test, and a run prints each skip with its reason.

"""


@dataclass(frozen=True)
class Case:
    title: str
    needs: tuple[str, ...]
    source: str
    """What it skips by itself, beyond its marks, is seen there."""


def groups() -> Iterator[tuple[str, list[Case]]]:
    """The suite's modules in order: what each is about, and its cases."""
    for name in MODULES:
        module = import_module(f"tests.sandboxes.conformance.test_{name}")
        about = re.sub(r"^[\d ]+(and \d+)?\.? ?", "", (module.__doc__ or "").strip()).split(":")[0].rstrip(".")
        tests = [each for key, each in vars(module).items() if key.startswith("test_") and inspect.isfunction(each)]
        yield about, [case_of(module, test) for test in tests]


def case_of(module: Any, test: Callable[..., None]) -> Case:
    found = [*_marks(module), *_marks(test)]
    needs = tuple(each for mark in found if mark.name == "needs" for each in mark.args)
    return Case(test.__name__.removeprefix("test_").replace("_", " "), needs, inspect.getsource(test))


def _marks(owner: Any) -> list[Any]:
    found = getattr(owner, "pytestmark", [])
    return list(found) if isinstance(found, list) else [found]


def outcome(case: Case, rig: Rig) -> str:
    for each in case.needs:
        if each == "wire" and rig.engine is None:
            return "no wire"
        if each != "wire" and not rig.can(each):
            return each
    if "faulty(rig)" in case.source and (rig.faults is None or not rig.answers_fail):
        return "no wire"
    return "no keys" if 'skip("no keys")' in case.source and not rig.secret else RAN


def matrix() -> str:
    """The page of the guide."""
    names, cells = available(), {}
    cases = [(about, case) for about, found in groups() for case in found]
    for name in names:
        with tempfile.TemporaryDirectory() as folder, open_rig(name, Path(folder)) as rig:
            cells[name] = [outcome(case, rig) for _, case in cases]
    lines = [HEAD + "| case | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    before = ""
    for number, (about, case) in enumerate(cases):
        if about != before:
            lines.append(f"| **{about}** |" + " |" * len(names))
            before = about
        lines.append(f"| {case.title} | " + " | ".join(cells[name][number] for name in names) + " |")
    return "\n".join(lines) + "\n"
