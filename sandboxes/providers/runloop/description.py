"""What Runloop can do and costs, without its client: pages describe providers that they never talk to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandboxes.contract import Capability, Estimate, Isolation, Problem, Spec
from sandboxes.providers.runloop import options
from sandboxes.providers.runloop.options import MAX_LIFETIME_S

NAME = "runloop"


class RunloopDescription:
    name = NAME

    def __init__(self, *, on_idle: str = "", public_ports: bool = False) -> None:
        self._on_idle = on_idle
        self._public_ports = public_ports

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(True, note="the whole disk"),
            "memory_snapshot": Capability(False, note="disk only"),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "snapshot_async": Capability(True),
            "snapshot_ttl": Capability(False, note="kept until deleted"),
            "restore_many": Capability(True),
            "idempotent_create": Capability(True, note="by the vendor's idempotency key"),
            "reattach": Capability(True, note="by the hub in the sandbox; output by its offset"),
            "stdin": Capability("pipe", note="text"),
            "stdin_replay_risk": Capability(True, note="numbered by us, so that it is taken once"),
            "list": Capability(True, note="all of the account, chosen from by us"),
            "labels": Capability(True),
            "extend": Capability(bool(self._on_idle), note="of an idle policy; a length of life is fixed"),
            "pause": Capability(True, note="the disk is kept and paid for; a plan may not have it"),
            "pause_memory": Capability(False),
            "port_url": Capability(self._public_ports),
            "net_block": Capability(True),
            "net_allow_hosts": Capability(True),
            "net_allow_cidrs": Capability(True, note="IPv4"),
            "isolation": Capability(
                (Isolation.MICROVM,), note="a virtual machine with a container in it, says the vendor"
            ),
            "gpus": Capability((), note="advertised, and not in the API 3.0"),
            "regions": Capability(()),
            "max_lifetime_s": Capability(MAX_LIFETIME_S),
            "per_request_credentials": Capability(True),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        return options.problems_of(spec)

    def estimate(self, spec: Spec) -> Estimate:
        return options.estimate_of(spec)
