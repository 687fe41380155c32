"""What Daytona can do and costs, without its client: pages describe providers that they never talk to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandboxes.contract import Capability, Estimate, Isolation, Problem, Spec, Stability
from sandboxes.providers.daytona import options

NAME = "daytona"
REPORTED_CAP = 60


class DaytonaDescription:
    name = NAME

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(True, note="of a running VM with its memory only"),
            "memory_snapshot": Capability(True, Stability.PREVIEW, "VM class only (isolation_min microvm)"),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "live_fork": Capability(
                False, note="not used: a parent with forks cannot be deleted; snapshots have no such tie"
            ),
            "snapshot_ttl": Capability(False, note="kept until deleted"),
            "max_snapshots": Capability(REPORTED_CAP, note="of an organisation, reported by a third party"),
            "restore_many": Capability(True),
            "idempotent_create": Capability(True, note="by the sandbox's name"),
            "reattach": Capability(True, note="by the hub in the sandbox"),
            "stdin": Capability("session", note="text over HTTP; numbered and encoded"),
            "list": Capability(True),
            "labels": Capability(True),
            "extend": Capability(True, note="whole minutes"),
            "pause": Capability(True, note="not with a GPU: those are deleted when they stop"),
            "pause_memory": Capability(True, Stability.PREVIEW, "VM class only; a container keeps its files"),
            "port_url": Capability(True, note="signed, for an hour"),
            "net_block": Capability(True),
            "net_allow_hosts": Capability(True),
            "net_allow_cidrs": Capability(True, note="IPv4"),
            "isolation": Capability((Isolation.CONTAINER, Isolation.MICROVM)),
            "gpus": Capability(options.GPUS, note="containers only, deleted when they stop"),
            "regions": Capability(None, note="the organisation's; any name is passed on"),
            "max_lifetime_s": Capability(None, note="no limit is published; an organisation may have one"),
            "per_request_credentials": Capability(True),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        return options.problems_of(spec)

    def estimate(self, spec: Spec) -> Estimate:
        return options.estimate_of(spec)
