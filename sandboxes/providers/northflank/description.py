"""What Northflank can do and costs, without its client: pages describe providers that they never talk to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sandboxes.contract import Capability, Estimate, Problem, Spec, Stability

NAME = "northflank"
GPUS = ("L4", "A10", "A100", "A100-80GB", "L40S", "H100", "H200", "B200")
"""Names that have been seen in `list.regions`; which of them a region has, the vendor says when asked."""
USD_PER_VCPU_H, USD_PER_GB_H = Decimal("0.01667"), Decimal("0.00833")
RATES_AS_OF, RATES_SOURCE = "2026-06-24", "northflank.com/blog"
MEMORY_MB = (256, 262_144)
CPU = (0.1, 64.0)


class NorthflankDescription:
    name = NAME

    def capabilities(self) -> Mapping[str, Capability]:
        return {
            "fs_snapshot": Capability(True, note="on Kata plans only, asynchronous"),
            "memory_snapshot": Capability(False),
            "live_snapshot": Capability(True, note="parked copies in the sandbox, gone with it"),
            "idempotent_create": Capability(True, note="by the service's name"),
            "reattach": Capability(True, note="by the hub in the sandbox; the vendor's session ends with its socket"),
            "stdin": Capability("pipe"),
            "list": Capability(True),
            "labels": Capability(True, note="in the service's description"),
            "pause": Capability(True, note="files outside volumes are kept by a snapshot only"),
            "extend": Capability(False),
            "port_url": Capability(False),
            "net_block": Capability(True, note="a network policy of the project, by tag"),
            "net_allow_hosts": Capability(False),
            "gpus": Capability(GPUS, Stability.GA, "which of them a region has is read when a sandbox is made"),
            "max_lifetime_s": Capability(None, note="no limit is published"),
        }

    def validate(self, spec: Spec) -> Sequence[Problem]:
        problems = []
        if not MEMORY_MB[0] <= spec.memory_mb <= MEMORY_MB[1]:
            problems.append(
                Problem("memory_mb", f"memory_mb is between {MEMORY_MB[0]} and {MEMORY_MB[1]} at Northflank")
            )
        if not CPU[0] <= spec.cpu <= CPU[1]:
            problems.append(Problem("cpu", f"cpu is between {CPU[0]} and {CPU[1]:g} cores at Northflank"))
        if spec.gpu is not None:
            unknown = [name for name in spec.gpu.types if name not in GPUS]
            if unknown:
                problems.append(Problem("gpu", f"Northflank has no GPU {', '.join(unknown)}; it has {', '.join(GPUS)}"))
        if spec.network.mode == "allowlist":
            problems.append(Problem("network", "an allow list is not passed on to Northflank; use blocked or open"))
        if spec.region:
            problems.append(Problem("region", "the region at Northflank is that of the project; name another project"))
        return problems

    def estimate(self, spec: Spec) -> Estimate:
        if spec.gpu is not None:
            return Estimate(None, RATES_AS_OF, RATES_SOURCE, "prices of GPUs are in list.regions of your account")
        usd = USD_PER_VCPU_H * Decimal(str(spec.cpu)) + USD_PER_GB_H * Decimal(spec.memory_mb) / 1024
        return Estimate(
            usd.quantize(Decimal("0.0001")), RATES_AS_OF, RATES_SOURCE, "a plan with at least this is billed"
        )
