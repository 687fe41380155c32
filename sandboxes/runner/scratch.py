"""In the sandbox: evaluate code in a throw-away fork of a parked copy. What it changes is gone with it."""

from __future__ import annotations

import os
import sys
from time import monotonic

from sandboxes.runner.guard import CannotGuard, forbid_processes, forbid_writes
from sandboxes.runner.protect import die_with_parent
from sandboxes.runner.queries import Control
from sandboxes.runner.wire import read_payload
from sandboxes.runner.workspace import look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.repl import Repl
    from sandboxes.runner.workspace import Listing

VALUE_CHARS = 64 * 1024


def evaluate(repl: Repl, request: dict[str, Any], descriptors: list[int], listing: Listing) -> None:
    """The main program of the process; never returns. `descriptors`: the line, the pipe for its output."""
    line, output = descriptors
    control = Control(line)
    report: dict[str, Any] = {"t": "evaluated", "status": "ok"}
    try:
        die_with_parent()
        control.send({"t": "hello"})
        started = monotonic()
        code = read_payload(repl.options.workspace, request["code"])
        if look(repl.options.workspace).differs_from(listing) or repl.needs_contents(code):
            report["status"] = "no_snapshot"
        else:
            try:
                forbid_writes()
                forbid_processes()
            except (CannotGuard, OSError):
                report["status"] = "unsupported"
            else:
                _limit_time(float(request["timeout_s"]))
                repl.streams.redirect(output)
                report.update(repl.scratch_cell(code, VALUE_CHARS))
        report["duration_ms"] = round((monotonic() - started) * 1000, 3)
        control.send(report)
    except BaseException:
        report = {"t": "evaluated", "status": "killed"}
        control.send(report)
    finally:
        os._exit(0)


def _limit_time(timeout_s: float) -> None:
    """A second line behind the supervisor's clock."""
    import resource

    seconds = int(timeout_s) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.setrecursionlimit(1000)
