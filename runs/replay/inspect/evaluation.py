"""Evaluate code in the state of a step: in a throw-away copy, never in the session's own sandbox."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.replay.inspect.errors import BadRequest
from runs.replay.inspect.slots import slots
from runs.replay.inspect.states import StepState
from runs.services.policy_facts import facts_of_session
from runs.services.snapshots.scratch import Evaluation, evaluate_live, open_scratch

MAX_CODE_CHARS = 100_000
REASON_CHARS = 500
DEFAULT_TIMEOUT_S = 5.0
MAX_TIMEOUT_S = 30.0
MAX_OUTPUT_BYTES = 100_000
Way = Literal["live", "scratch"]


@dataclass(frozen=True, slots=True)
class Result:
    """`evaluation` is what the sandbox said; `total_ms` counts from the request, with the restoring.

    way: `live` (a copy parked in the node's running sandbox) or `scratch` (a sandbox restored from the snapshot).
    """

    evaluation: Evaluation
    way: Way
    total_ms: float

    def to_plain(self) -> dict[str, object]:
        """As pages and the API give it."""
        said = self.evaluation
        error = said.error
        return {
            "status": said.status,
            "value": said.value,
            "output": said.output,
            "output_bytes": said.output_bytes,
            "error": error and {"type": error.type, "message": error.message, "traceback": error.traceback},
            "duration_ms": round(said.duration_ms, 1),
            "total_ms": round(self.total_ms, 1),
            "way": self.way,
        }


def evaluate(state: StepState, code: str, *, actor: Actor, timeout_s: float = DEFAULT_TIMEOUT_S) -> Result:
    """Run `code` in the state of the step and throw everything away but what it said.

    Raises `InspectError`, `PolicyRefused` and `SnapshotError`, and `SandboxError` when no sandbox could be had.
    """
    _check(code, timeout_s)
    require(Act.EVALUATE, facts_of_session(state.session, actor))
    assert state.snapshot is not None
    assert actor.user is not None
    with slots.taken(actor.user.pk):
        started = time.monotonic()
        way: Way = "live"
        found = evaluate_live(state.snapshot, code, timeout_s=timeout_s, max_output_bytes=MAX_OUTPUT_BYTES)
        if found is None:
            way = "scratch"
            with open_scratch(state.snapshot) as box:
                found = box.evaluate(code, timeout_s=timeout_s, max_output_bytes=MAX_OUTPUT_BYTES)
        result = Result(found, way, (time.monotonic() - started) * 1000)
    # The code may quote the material, so the log has its hash.
    details = {"code_sha256": hashlib.sha256(code.encode()).hexdigest(), "status": found.status, "way": way}
    audit_look("snapshot.evaluate", state, actor, details)
    return result


def audit_look(action: str, state: StepState, actor: Actor, details: Mapping[str, object], *, reason: str = "") -> None:
    """Somebody took content out of a step: who, of what, when."""
    assert state.snapshot is not None
    place = {"session": str(state.session.uuid), "node": state.node.number, "step": state.step.number}
    audit(
        action,
        actor=actor.name,
        object_type="snapshot",
        object_id=state.snapshot.uuid,
        team_uuid=state.session.team.uuid,
        source=actor.source,
        particulars=Particulars(reason=reason.strip()[:REASON_CHARS]),
        details={**place, **details},
    )


def _check(code: str, timeout_s: float) -> None:
    if not code.strip():
        raise BadRequest("There is nothing to evaluate: type an expression or statements.")
    if len(code) > MAX_CODE_CHARS:
        raise BadRequest(f"The code has {len(code):,} characters; the most is {MAX_CODE_CHARS:,}.")
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise BadRequest(f"The time limit must be above 0 and at most {MAX_TIMEOUT_S:g} s.")
