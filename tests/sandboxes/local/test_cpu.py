"""Processor time: a quota where control groups give one, whole cores elsewhere; code can change neither."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from sandboxes.errors import InvalidSpec
from sandboxes.local.cgroups import NoGroup, NoGroups, VersionOne, VersionTwo, find_groups
from sandboxes.local.spec import BoxSpec, parse_spec
from tests.sandboxes.service import Linked

OpenSandbox = Callable[..., Linked]

SPIN = """
import os, time
begun = time.monotonic()
for _ in range(2):
    if os.fork() == 0:
        while time.monotonic() - begun < 2: pass
        os._exit(0)
for _ in range(2): os.wait()
used = sum(os.times()[:4])
print(used / (time.monotonic() - begun))
"""


def test_two_processes_share_the_quota_of_their_sandbox(tier: str, open_sandbox: OpenSandbox) -> None:
    groups = find_groups()
    if not (isinstance(groups, VersionOne | VersionTwo) and groups.limits_cpu):
        pytest.skip("no control group here limits processor time")
    linked = open_sandbox(tier=tier, cpu=0.2)
    assert float(linked.run(SPIN, timeout_s=20).stdout) < 0.4


def test_code_cannot_move_itself_to_other_cores(tier: str, open_sandbox: OpenSandbox) -> None:
    result = open_sandbox(tier=tier).run("import os; os.sched_setaffinity(0, os.sched_getaffinity(0))")
    assert (result.status, result.error) == ("error", "PermissionError")


def test_without_a_quota_a_sandbox_gets_whole_cores() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        group = NoGroups().create("x", 1.0, 64, 1, 4)
        assert isinstance(group, NoGroup)
        group.attach([process.pid])
        assert len(os.sched_getaffinity(process.pid)) == 1
        NoGroup(cpu=10_000).attach([process.pid])
        assert os.sched_getaffinity(process.pid) == os.sched_getaffinity(0)
        process.communicate(b"\n")


@pytest.mark.parametrize("cpu", [0, -1, 10_000, True, "1", None, float("nan")])
def test_a_spec_with_an_impossible_share_is_refused(cpu: object) -> None:
    with pytest.raises(InvalidSpec, match="cpu"):
        parse_spec({"cpu": cpu})


def test_a_waiting_sandbox_serves_only_the_share_it_was_made_for() -> None:
    assert BoxSpec().fits_pool(BoxSpec(tier="bubblewrap"))
    assert not BoxSpec(cpu=2).fits_pool(BoxSpec(tier="bubblewrap"))
