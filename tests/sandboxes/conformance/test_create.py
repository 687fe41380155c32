"""1. Creating: what a spec asks for, what is refused before any spend, and once for a key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sandboxes import aio
from sandboxes.contract import SandboxState
from sandboxes.errors import InvalidSpec
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, key
from tests.wire.rig import Rig


def test_a_sandbox_runs_and_says_what_it_is(rig: Rig) -> None:
    sandbox = create(rig)
    info = aio.run(sandbox.info(), timeout_s=TIMEOUT_S)
    assert info.state is SandboxState.RUNNING
    assert info.ref == sandbox.ref
    assert rig.provider.name in sandbox.ref
    assert info.created_at > 1_700_000_000
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)


@pytest.mark.needs("labels", "list")
def test_it_is_found_by_its_labels(rig: Rig) -> None:
    label = key()
    one, _ = create(rig, labels={"node": label}), create(rig, labels={"node": "another"})
    found = aio.run(rig.provider.list({"node": label}), timeout_s=TIMEOUT_S)
    assert [info.ref for info in found] == [one.ref]
    assert found[0].labels["node"] == label


def test_the_environment_of_the_spec_is_there(rig: Rig) -> None:
    sandbox = create(rig, env={"MINE": "ä b'\""})
    done = aio.run(sandbox.exec(["sh", "-c", 'printf %s "$MINE"'], timeout_s=30), timeout_s=TIMEOUT_S)
    assert done.stdout.decode() == "ä b'\""


def test_a_second_call_with_the_same_key_finds_the_first_sandbox(rig: Rig) -> None:
    name = key()
    before = rig.engine.created if rig.engine is not None else 0
    first = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    again = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    assert again.ref == first.ref
    if rig.engine is not None:
        assert rig.engine.created == before + 1


def test_calls_at_the_same_time_make_different_sandboxes(rig: Rig) -> None:
    with ThreadPoolExecutor(4) as pool:
        refs = {sandbox.ref for sandbox in pool.map(lambda _: create(rig), range(4))}
    assert len(refs) == 4


def test_what_cannot_be_had_is_refused_before_any_spend(rig: Rig) -> None:
    before = rig.engine.created if rig.engine is not None else 0
    for spec, field in (
        (replace(rig.spec, gpu=rig.unknown_gpu), "gpu"),
        (replace(rig.spec, memory_mb=0), "memory_mb"),
        (replace(rig.spec, memory_mb=10**9), "memory_mb"),
        (replace(rig.spec, cpu=0.0), "cpu"),
    ):
        problems = rig.provider.validate(spec)
        assert field in [problem.field for problem in problems]
        with pytest.raises(InvalidSpec, match=r"\w+ \w+"):
            aio.run(rig.provider.create(spec, idempotency_key=key()), timeout_s=TIMEOUT_S)
    if rig.engine is not None:
        assert rig.engine.created == before
