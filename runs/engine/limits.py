"""Limits of a session. Unless its name says otherwise, a limit counts the whole tree."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """None means no limit. The defaults are those of a new session; the form shows them.

    Reserved before and settled after each call on the host, so that parallel children cannot overspend together.
    """

    max_depth: int = 2
    """Recursion nodes below the root: at `depth + 1 >= max_depth` an `rlm_query` is answered by a plain LM call."""
    max_steps_per_node: int = 30
    max_nodes: int = 1_000
    max_lm_calls: int | None = 2_000
    max_tokens: int | None = 5_000_000
    max_cost_usd: float | None = 5.0
    max_wall_s: float | None = 3_600
    max_consecutive_errors: int = 5
    """Cells of one node that raise one after another."""
    max_output_bytes: int | None = 256 * 1024 * 1024
    max_sandbox_s: float | None = 4 * 3_600
    max_gpu_s: float | None = None
    cell_timeout_s: float = 120
    """One cell's own time, without its waiting for sub-calls."""
    cell_output_bytes: int = 4 * 1024 * 1024
    memory_mb: int = 2_048
    prompt_output_chars: int = 20_000
    """How much of a cell's output the model sees; all of it is recorded."""
