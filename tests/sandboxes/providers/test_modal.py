"""Modal: what a spec becomes, and how errors are told apart."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from grpclib import GRPCError, Status
from modal import exception as native

from sandboxes import errors
from sandboxes.contract import GpuRequest, Isolation, NetworkPolicy, SandboxRef, Spec
from sandboxes.providers.modal.errors import translate, translated
from sandboxes.providers.modal.options import GPUS, create_options, estimate_of, gpus_of, info_of, name_of, problems_of


def test_the_lifetime_is_always_set_because_the_default_is_five_minutes() -> None:
    options = create_options(Spec(lifetime_s=7200, idle_s=60))
    assert (options["timeout"], options["idle_timeout"]) == (7200, 60)
    assert "timeout" in create_options(Spec())


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_string_passes_unchanged(name: str) -> None:
    spec = Spec(gpu=GpuRequest((name,), 2))
    assert not problems_of(spec)
    assert gpus_of(spec) == [f"{name}:2"]
    assert create_options(spec, f"{name}:2")["gpu"] == f"{name}:2"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (Spec(gpu=GpuRequest(("NO-SUCH-GPU",))), "gpu"),
        (Spec(gpu=GpuRequest(("A10",), 5)), "gpu"),
        (Spec(gpu=GpuRequest(("H100",), 9)), "gpu"),
        (Spec(lifetime_s=24 * 3600 + 1), "lifetime_s"),
        (Spec(memory_mb=1), "memory_mb"),
        (Spec(memory_mb=344_065), "memory_mb"),
        (Spec(cpu=64.5), "cpu"),
        (Spec(cpu=0.001), "cpu"),
    ],
)
def test_what_modal_cannot_do_is_named_by_its_field(spec: Spec, field: str) -> None:
    assert [problem.field for problem in problems_of(spec)] == [field]


def test_network_region_labels_and_isolation() -> None:
    blocked = create_options(Spec(region="eu", labels={"session": "s"}, env={"A": "b"}), now=1000.0)
    assert blocked["block_network"] is True
    assert blocked["region"] == "eu"
    assert blocked["tags"] == {
        "session": "s",
        "rlmweb": "1",
        "rlmweb-created": "1000.000",
        "rlmweb-lifetime": "86400",
        "rlmweb-runtime": "gvisor",
    }
    assert blocked["env"] == {"A": "b"}
    assert blocked["runtime"] == "gvisor"
    policy = NetworkPolicy("allowlist", ("*.example.org",), ("10.0.0.0/8",))
    listed = create_options(Spec(network=policy, isolation_min=Isolation.MICROVM))
    assert "block_network" not in listed
    assert listed["outbound_domain_allowlist"] == ["*.example.org"]
    assert listed["outbound_cidr_allowlist"] == ["10.0.0.0/8"]
    assert listed["runtime"] == "vm"
    assert "block_network" not in create_options(Spec(network=NetworkPolicy("open")))


def test_an_unknown_rate_is_said() -> None:
    found = estimate_of(Spec(gpu=GpuRequest(("H100",), 2)))
    assert found.usd_per_hour is None
    assert "7.8984" in found.note


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (native.AuthError("x"), errors.AuthFailed),
        (native.PermissionDeniedError("x"), errors.AuthFailed),
        (native.NotFoundError("x"), errors.NotFound),
        (native.InvalidError("x"), errors.InvalidSpec),
        (native.SandboxTerminatedError("x"), errors.AlreadyTerminated),
        (native.ExecTimeoutError("x"), errors.ExecTimeout),
        (native.SnapshotCreationError("x"), errors.SnapshotFailed),
        (native.ResourceExhaustedError("no capacity for H100"), errors.CapacityUnavailable),
        (native.ResourceExhaustedError("workspace spend limit"), errors.QuotaExceeded),
        (native.ResourceExhaustedError("rate limit"), errors.RateLimited),
        (native.ServiceError("x"), errors.ProviderUnavailable),
        (GRPCError(Status.UNAVAILABLE, "x"), errors.ProviderUnavailable),
        (ConnectionResetError("x"), errors.ProviderUnavailable),
        (DecodeError("x"), errors.ProviderUnavailable),
        (native.ConflictError("x"), errors.AlreadyTerminated),
    ],
)
def test_errors_become_ours(error: Exception, kind: type[errors.SandboxError]) -> None:
    with pytest.raises(errors.SandboxError) as raised, translated():
        raise error
    assert type(raised.value) is kind
    assert (raised.value.provider, raised.value.native_type) == ("modal", type(error).__name__)
    assert translate(error).retryable is kind.retryable


def test_what_is_used_is_no_more_than_what_is_asked_for() -> None:
    """A request alone is no limit, and what is used beyond it is billed."""
    options = create_options(Spec(cpu=2.0, memory_mb=4096))
    assert (options["cpu"], options["memory"]) == ((2.0, 2.0), (4096, 4096))


def test_the_name_for_a_key_is_one_that_modal_takes() -> None:
    name = name_of("a key / with anything in it" * 100)
    assert len(name) <= 64
    assert name.replace("-", "").isalnum()
    assert name == name_of("a key / with anything in it" * 100) != name_of("another")


def test_tags_that_somebody_changed_are_no_times() -> None:
    info = info_of(SandboxRef("r"), {"rlmweb-created": "soon", "rlmweb-lifetime": "-5", "rlmweb-runtime": "vm"})
    assert (info.created_at, info.expires_at, info.isolation) == (0.0, None, Isolation.MICROVM)
