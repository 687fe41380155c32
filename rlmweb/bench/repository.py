"""What benchmarks borrow from the tests: servers that speak the vendors' protocols, sockets, recorded sessions."""

from __future__ import annotations

import importlib
from typing import Any

from runs.bench.suite import CannotMeasure


def from_tests(module: str) -> Any:
    """`tests.MODULE`. Raises `CannotMeasure` in an installed package, which has no tests."""
    try:
        return importlib.import_module(f"tests.{module}")
    except ModuleNotFoundError as error:
        raise CannotMeasure(
            f"it needs the repository with its development packages, and {error.name} is not here"
        ) from error
