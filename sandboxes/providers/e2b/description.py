"""What E2B can do and costs, without its client: pages describe providers that they never talk to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandboxes.contract import Capability, Estimate, Isolation, Problem, Spec
from sandboxes.providers.e2b import options
from sandboxes.providers.e2b.options import BASE, MAX_LIFETIME_S, Size

NAME = "e2b"
MAX_LIVE_FORKS = 20


class E2BDescription:
    name = NAME

    def __init__(
        self,
        *,
        templates: Mapping[str, Size | Sequence[int]] = BASE,
        max_lifetime_s: int = MAX_LIFETIME_S,
        public_ports: bool = False,
    ) -> None:
        """A size is `Size` or a pair of cores and MiB, as it comes from JSON."""
        self._templates = {name: size if isinstance(size, Size) else Size(*size) for name, size in templates.items()}
        self._max_lifetime_s = max_lifetime_s
        self._public_ports = public_ports

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(
                True, note="streams break; where the team has none of files only, one with memory"
            ),
            "memory_snapshot": Capability(True, note="files, memory and processes; streams break"),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "snapshot_drops_streams": Capability(True),
            "snapshot_ttl": Capability(False, note="kept until deleted"),
            "live_fork_max": Capability(MAX_LIVE_FORKS, note="of the vendor's own call, which is not used: no retry"),
            "restore_many": Capability(True),
            "idempotent_create": Capability(True, note="by the vendor's idempotency key"),
            "reattach": Capability(True, note="by the hub in the sandbox; commands by their pid"),
            "stdin": Capability("pipe"),
            "list": Capability(True),
            "labels": Capability(True),
            "extend": Capability(True, note="up to the plan's longest life"),
            "pause": Capability(True, note="not billed; a resumed one has its whole life before it again"),
            "pause_memory": Capability(True),
            "port_url": Capability(self._public_ports),
            "net_block": Capability(True),
            "net_allow_hosts": Capability(True, note="8.8.8.8 is then reached, too, for names"),
            "net_allow_cidrs": Capability(True, note="IPv4"),
            "isolation": Capability((Isolation.MICROVM,)),
            "gpus": Capability(()),
            "regions": Capability(()),
            "max_lifetime_s": Capability(self._max_lifetime_s),
            "per_request_credentials": Capability(True),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        return options.problems_of(spec, self._templates, self._max_lifetime_s)

    def estimate(self, spec: Spec) -> Estimate:
        return options.estimate_of(spec, self._templates)
