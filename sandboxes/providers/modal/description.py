"""What Modal can do and costs, without its client: pages describe providers that they never talk to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandboxes.contract import Capability, Estimate, Isolation, Problem, Spec, Stability
from sandboxes.providers.modal import options

NAME = "modal"
MEMORY_SNAPSHOT_DAYS = 7


class ModalDescription:
    name = NAME

    def __init__(self, *, memory_snapshots: bool = False) -> None:
        self._memory_snapshots = memory_snapshots

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(True, note="the whole file system, as an image"),
            "memory_snapshot": Capability(
                self._memory_snapshots,
                Stability.EXPERIMENTAL,
                f"not with a GPU; kept for {MEMORY_SNAPSHOT_DAYS} days and cannot be deleted before",
            ),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "snapshot_ttl": Capability(True, note="whole seconds; without one, kept until deleted"),
            "restore_many": Capability(True),
            "idempotent_create": Capability(True, note="by the sandbox's name in the app, while it runs"),
            "reattach": Capability(True, note="by the hub in the sandbox; output of commands by its offset"),
            "stdin": Capability("pipe"),
            "list": Capability(True, note="those of the app"),
            "labels": Capability(True, note="tags"),
            "extend": Capability(False, note="a sandbox's longest life is fixed when it is made"),
            "pause": Capability(False, note="of persistent sandboxes only, an alpha without tags and GPUs"),
            "port_url": Capability(False, note="the vendor's addresses want a token beside them"),
            "net_block": Capability(True),
            "net_allow_hosts": Capability(True),
            "net_allow_cidrs": Capability(True),
            "isolation": Capability((Isolation.GVISOR, Isolation.MICROVM), note="virtual machines are an alpha"),
            "gpus": Capability(options.GPUS, note="up to 8 of a type, A10 up to 4; not in virtual machines"),
            "regions": Capability(None, note="any name is passed on; a region costs more"),
            "max_lifetime_s": Capability(options.MAX_LIFETIME_S),
            "per_request_credentials": Capability(True),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        return options.problems_of(spec)

    def estimate(self, spec: Spec) -> Estimate:
        return options.estimate_of(spec)
