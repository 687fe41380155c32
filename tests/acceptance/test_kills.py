"""Processes die by SIGKILL; sessions do not. `manage.py bench kills` does the same fifty times."""

from __future__ import annotations

import pytest

from rlmweb.bench.kills import KillRun, kill_stack


def test_nothing_is_lost_or_doubled_when_processes_are_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
    with kill_stack(tmp_path_factory.mktemp("kills") / "stack") as stack:
        report = KillRun(stack, seed=7, running=4).run(8)
    assert report.faults == []
    assert sum(report.kills.values()) == 8
    assert report.requests > 100
    assert report.snapshots > 100
