"""Limits of the whole tree, checked on the host under the session's lock: reserve before a call, settle after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from runs.engine.limits import Limits
from runs.models import SessionMeter


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that does not allow what was asked. Units as in the limit's name."""

    limit: str
    used: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """The most that one LM call may use. `micro_usd` is 0 where no price is known: such calls are counted instead.

    `output_tokens`: of the `tokens`, those of the reply.
    """

    tokens: int
    micro_usd: int
    output_tokens: int = 0


def reserve_call(meter: SessionMeter, limits: Limits, wanted: Reservation) -> Exceeded | None:
    """Reserve one LM call on the locked meter, or say which limit refuses it."""
    calls = meter.lm_calls + meter.lm_calls_reserved
    if limits.max_lm_calls is not None and calls + 1 > limits.max_lm_calls:
        return Exceeded("max_lm_calls", calls, limits.max_lm_calls)
    tokens = meter.input_tokens + meter.output_tokens + meter.tokens_reserved
    if limits.max_tokens is not None and tokens + wanted.tokens > limits.max_tokens:
        return Exceeded("max_tokens", tokens, limits.max_tokens)
    cost = meter.cost_micro_usd + meter.cost_reserved_micro_usd
    if limits.max_cost_usd is not None and cost + wanted.micro_usd > limits.max_cost_usd * 1_000_000:
        return Exceeded("max_cost_usd", cost / 1_000_000, limits.max_cost_usd)
    meter.lm_calls_reserved += 1
    meter.tokens_reserved += wanted.tokens
    meter.cost_reserved_micro_usd += wanted.micro_usd
    return None


def release_call(meter: SessionMeter, reserved: Reservation) -> None:
    """Undo `reserve_call`: the call was answered (and is settled), failed, or was abandoned."""
    meter.lm_calls_reserved -= 1
    meter.tokens_reserved -= reserved.tokens
    meter.cost_reserved_micro_usd -= reserved.micro_usd


def reserve_nodes(meter: SessionMeter, limits: Limits, wanted: int) -> Exceeded | None:
    """Count `wanted` new nodes, all or none."""
    if meter.nodes + wanted > limits.max_nodes:
        return Exceeded("max_nodes", meter.nodes, limits.max_nodes)
    meter.nodes += wanted
    return None


def exceeded(
    meter: SessionMeter, limits: Limits, started_at: datetime, sandbox_s: float, gpus: int = 0
) -> Exceeded | None:
    """Limits that are not about one call. `sandbox_s`: sandbox time of this node that is not on the meter yet, with so
    many `gpus`."""
    wall_s = (timezone.now() - started_at).total_seconds()
    used_sandbox_s = meter.sandbox_ms / 1000 + sandbox_s
    for name, used, allowed in (
        ("max_wall_s", wall_s, limits.max_wall_s),
        ("max_output_bytes", meter.output_bytes, limits.max_output_bytes),
        ("max_sandbox_s", used_sandbox_s, limits.max_sandbox_s),
        ("max_gpu_s", meter.gpu_ms / 1000 + sandbox_s * gpus, limits.max_gpu_s),
    ):
        if allowed is not None and used > allowed:
            return Exceeded(name, used, allowed)
    return None
