"""What starting the application imports, in processes of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable

from rlmweb.boot.paths import ROOT_DIR

SDKS = ("modal", "e2b", "daytona", "northflank", "blaxel", "runloop_api_client")
TIMEOUT_S = 120
SET_UP = """
import django
django.setup()
from django.urls import get_resolver
get_resolver().url_patterns
import sandboxes.registry, sandboxes.services, rlmweb.celery
"""
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
"""As if no extra were installed."""
TELL = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def sdks_imported() -> list[str]:
    """The vendors' clients among what the application has imported once it is set up."""
    loaded = set(json.loads(_run(SET_UP + TELL).splitlines()[-1]))
    return [name for name in SDKS if name in loaded]


def cold_import_pair() -> tuple[Callable[[], object], Callable[[], object]]:
    """Set up with everything that is installed here, and with the extras hidden. Both pay for the same finder."""
    return lambda: _run(HIDE.format(names=()) + SET_UP), lambda: _run(HIDE.format(names=SDKS) + SET_UP)


def children_cpu_ns() -> int:
    """Processor time of all processes that this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT_DIR, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the application did not start: {done.stderr[-1000:]}")
    return done.stdout
