"""Sessions under the policy of their organisation: asked before they start, before each step and each model call."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from rlmweb.teams.models import Organisation
from rlmweb.teams.policies.affected import count_with
from rlmweb.teams.policies.current import Policy
from rlmweb.teams.policies.deciding import decide
from rlmweb.teams.policies.enforcing import PolicyRefused, require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.lm.errors import LmError
from runs.models import Session
from runs.services.config import ModelConfig
from runs.services.policy_facts import about, facts_in, facts_of_session, model_of
from runs.services.sessions import stop_refused

logger = logging.getLogger(__name__)
ASKED_AGAIN_S = 5.0
"""How long a worker goes by one answer about a model: a step may make thousands of calls."""
BATCH = 1000


class LmForbidden(LmError):
    """The policy of the organisation forbids this model."""


def initiator(session: Session, source: str = "worker") -> Actor:
    return Actor(session.created_by, source)


def require_step(session: Session) -> None:
    """Before each step. Raises `PolicyRefused`."""
    require(Act.STEP, facts_of_session(session, initiator(session)))


def require_model(session: Session, model: ModelConfig) -> None:
    """Before a model call outside of a step: a judge's. Raises `PolicyRefused`."""
    require(Act.MODEL_CALL, facts_in(session.team, initiator(session), models=(model_of(model),), **about(session)))


class ModelGuard:
    """Asked before each model call of a node. One answer holds for `ASKED_AGAIN_S`, and is in the log once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said: dict[tuple[str, str, str], tuple[float, LmForbidden | None]] = {}

    def require(self, model: ModelConfig) -> None:
        """Raises `LmForbidden`."""
        place = (model.api, model.base_url, model.model)
        asked_at, forbidden = self._said.get(place, (0.0, None))
        if not asked_at or time.monotonic() - asked_at > ASKED_AGAIN_S:
            forbidden = self._ask(model)
            self._said[place] = (time.monotonic(), forbidden)
        if forbidden is not None:
            raise forbidden

    def _ask(self, model: ModelConfig) -> LmForbidden | None:
        try:
            require_model(self._session, model)
        except PolicyRefused as error:
            return LmForbidden(str(error))
        return None


def stop_forbidden() -> int:
    """By the clock: end sessions whose next step would be refused, whatever they wait for. Returns how many."""
    stopped = 0
    for session in _running_under_policies():
        try:
            require_step(session)
        except PolicyRefused as error:
            stop_refused(session, str(error))
            stopped += 1
        except Exception:  # one session that cannot be read must not keep the others running
            logger.exception("a session was not held to its policy", extra={"session": str(session.uuid)})
    return stopped


def count_refused(organisation: Organisation, policy: Policy) -> int:
    """Running sessions whose next step this policy would refuse: for the preview of a change."""
    running = Session.objects.filter(status=Session.Status.RUNNING, team__organisation=organisation)
    found = running.select_related("team__organisation", "created_by").order_by("-id")[:BATCH]
    return sum(not decide(Act.STEP, facts_of_session(each, initiator(each)), policy).allowed for each in found)


def register_counters() -> None:
    """Called when Django has started."""
    count_with("running session", "running sessions", count_refused)


def _running_under_policies() -> Iterator[Session]:
    """Where nobody ever set a policy, and nothing of a higher class runs, nothing can be refused."""
    running = Session.objects.filter(status=Session.Status.RUNNING, team__organisation__policies__isnull=False)
    found = running.select_related("team__organisation", "created_by").distinct()
    return found.iterator(chunk_size=BATCH)
