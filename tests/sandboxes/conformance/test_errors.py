"""9 and 10. Faults of the vendor become our errors, nothing leaks, and keys stay where they belong."""

from __future__ import annotations

import logging

import pytest

from sandboxes import aio
from sandboxes.errors import (
    AuthFailed,
    CapacityUnavailable,
    NotFound,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    SandboxError,
)
from tests.sandboxes.conformance.kit import TIMEOUT_S, create, host_of, key
from tests.wire.faults import Fault
from tests.wire.rig import Rig

pytestmark = pytest.mark.needs("wire")


def faulty(rig: Rig) -> None:
    if rig.faults is None or not rig.answers_fail:
        pytest.skip("no wire that can be disturbed")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthFailed),
        (403, AuthFailed),
        (404, NotFound),
        (429, (RateLimited, QuotaExceeded)),
        (500, ProviderUnavailable),
        (503, (ProviderUnavailable, CapacityUnavailable)),
    ],
)
def test_a_status_becomes_the_right_error(rig: Rig, status: int, error: type[SandboxError]) -> None:
    faulty(rig)
    assert rig.faults is not None
    sandbox = create(rig)
    rig.faults.add("get", Fault(status, retry_after_s=0.1), times=20)
    try:
        with pytest.raises(error) as caught:
            aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    finally:
        rig.faults._queued.clear()
    assert caught.value.provider == rig.provider.name
    assert caught.value.retryable == (status in (429, 500, 503))


@pytest.mark.parametrize("kind", ["reset", "malformed"])
def test_an_answer_that_is_none_is_the_vendors_fault(rig: Rig, kind: str) -> None:
    faulty(rig)
    assert rig.faults is not None
    sandbox = create(rig)
    rig.faults.add("get", Fault(kind=kind), times=20)  # type: ignore[arg-type]
    try:
        with pytest.raises(ProviderUnavailable):
            aio.run(rig.provider.get(sandbox.ref), timeout_s=TIMEOUT_S)
    finally:
        rig.faults._queued.clear()


def test_a_lost_answer_to_create_leaves_one_sandbox(rig: Rig) -> None:
    faulty(rig)
    assert rig.faults is not None
    assert rig.engine is not None
    name, before = key(), len(rig.engine.alive())
    rig.faults.add("create", Fault(kind="lose_reply"))
    try:
        sandbox = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    except ProviderUnavailable:  # the adapter leaves it to its caller to try again
        sandbox = aio.run(rig.provider.create(rig.spec, idempotency_key=name), timeout_s=TIMEOUT_S)
    assert len(rig.engine.alive()) == before + 1
    aio.run(sandbox.terminate(), timeout_s=TIMEOUT_S)
    assert len(rig.engine.alive()) == before


def test_no_capacity_is_said_as_that(rig: Rig) -> None:
    faulty(rig)
    assert rig.faults is not None
    rig.faults.no_capacity = True
    try:
        with pytest.raises(CapacityUnavailable):
            create(rig)
    finally:
        rig.faults.no_capacity = False


def test_a_wrong_key_is_refused(rig: Rig) -> None:
    if rig.with_wrong_key is None:
        pytest.skip("no keys")
    provider = rig.with_wrong_key()
    with pytest.raises(AuthFailed):
        aio.run(provider.ping(), timeout_s=TIMEOUT_S)
    with pytest.raises(AuthFailed):
        aio.run(provider.create(rig.spec, idempotency_key=key()), timeout_s=TIMEOUT_S)
    aio.run(provider.close(), timeout_s=TIMEOUT_S)


def test_ping_says_that_the_key_works(rig: Rig) -> None:
    assert aio.run(rig.provider.ping(), timeout_s=TIMEOUT_S)


def test_the_key_is_in_no_reference_log_or_sandbox(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    if not rig.secret:
        pytest.skip("no keys")
    with caplog.at_level(logging.DEBUG):
        sandbox = create(rig)
        host = host_of(sandbox)
        inside = host.run("import os\nprint(os.environ)\nprint(open('/proc/self/environ').read())")
        host.close()
    assert rig.secret not in inside
    assert rig.secret not in sandbox.ref
    assert rig.secret not in repr(rig.provider)
    assert rig.secret not in caplog.text
