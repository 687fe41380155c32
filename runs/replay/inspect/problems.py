"""What went wrong, in the one shape in which pages and the API say it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass

from runs.replay.inspect.errors import InspectError, sentence
from runs.services.snapshots.reading import SnapshotError
from sandboxes.errors import SandboxError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """`status` is of HTTP, `type` stable; `hint` says what to do."""

    status: int
    type: str
    message: str
    hint: str

    def to_plain(self) -> dict[str, object]:
        plain = asdict(self)
        del plain["status"]
        return plain


def problem_of(error: InspectError | SnapshotError | SandboxError) -> Problem:
    if isinstance(error, InspectError):
        return Problem(error.status, error.type, str(error), error.hint)
    if isinstance(error, SnapshotError):
        return Problem(409, "snapshot_unusable", sentence(error), error.way_out)
    logger.warning("no scratch sandbox: %s", error)
    return Problem(503, "no_sandbox", sentence(error), "Try again; if it fails again, see Status.")
