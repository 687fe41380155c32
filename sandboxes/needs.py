"""What a session needs of its sandboxes, as plain data that is stored with it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from sandboxes.contract import GpuRequest, Isolation, NetworkPolicy, Spec

Word = Annotated[str, msgspec.Meta(max_length=253, pattern=r"\A[^\s\x00-\x1f]+\Z")]
"""A name without spaces: of a GPU, a host, a region."""
NameOrNone = Annotated[str, msgspec.Meta(max_length=253, pattern=r"\A[^\s\x00-\x1f]*\Z")]
Words = Annotated[tuple[Word, ...], msgspec.Meta(max_length=64)]


Kinds = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"\A[^\x00-\x1f]+\Z")], ...],
    msgspec.Meta(max_length=16),
]
"""Names of attestations."""


class Needs(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`gpu`: types in the provider-neutral spelling, in order of preference; empty: none. `max_usd_per_hour`: what one
    sandbox may cost while it is busy. `attestations`: kinds that the team must hold of the provider, e.g. `BAA`."""

    cpu: Annotated[float, msgspec.Meta(ge=0.1, le=192)] = 1.0
    gpu: Words = ()
    gpu_count: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    region: NameOrNone = ""
    network: Literal["blocked", "allowlist", "open"] = "blocked"
    hosts: Words = ()
    cidrs: Words = ()
    isolation: Literal["", "gvisor", "microvm"] = ""
    memory_snapshot: bool = False
    attestations: Kinds = ()
    max_usd_per_hour: Annotated[float, msgspec.Meta(gt=0, le=100_000)] | None = None
    image: NameOrNone = ""

    @property
    def gpus(self) -> int:
        """How many each sandbox has."""
        return self.gpu_count if self.gpu else 0

    def spec(
        self, *, memory_mb: int, lifetime_s: int, idle_s: int, tier: str = "", labels: dict[str, str] | None = None
    ) -> Spec:
        """The same for a provider, with what a session's limits say."""
        return Spec(
            image=self.image,
            cpu=self.cpu,
            memory_mb=memory_mb,
            gpu=GpuRequest(self.gpu, self.gpu_count) if self.gpu else None,
            region=self.region,
            network=NetworkPolicy(self.network, self.hosts, self.cidrs),
            labels=labels or {},
            lifetime_s=lifetime_s,
            idle_s=idle_s,
            isolation_min=Isolation(self.isolation) if self.isolation else Isolation.CONTAINER,
            tier=tier,
        )
