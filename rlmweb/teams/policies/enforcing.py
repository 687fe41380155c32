"""Asking for leave: the act goes on, or is refused with an entry in the audit log."""

from __future__ import annotations

from django.db import transaction

from rlmweb.audit.models import AuditEntry
from rlmweb.audit.record import Particulars
from rlmweb.audit.record import record as audit
from rlmweb.teams.policies.deciding import Decision, decide
from rlmweb.teams.policies.facts import Act, Facts
from rlmweb.teams.policies.words import TITLES

WHO_CHANGES_IT = "Admins and owners of the organisation change it on the page People, under Policy."


class PolicyRefused(Exception):
    """The policy of the organisation forbids this. The text names the rule, what it wants and who can change it."""

    def __init__(self, act: Act, decision: Decision) -> None:
        super().__init__(f"{decision.reason} Rule: {title_of(decision.rule)} ({decision.policy}). {WHO_CHANGES_IT}")
        self.act = act
        self.decision = decision


def require(act: Act, facts: Facts) -> Decision:
    """Ask before the act's own transaction begins, so that the entry of a refusal outlives it. Raises `PolicyRefused`.

    Inside of a transaction a refusal raises `RuntimeError` instead: it could not be recorded.
    """
    decision = decide(act, facts)
    if not decision.allowed:
        note_refusal(act, facts, decision)
        raise PolicyRefused(act, decision)
    return decision


def note_refusal(act: Act, facts: Facts, decision: Decision) -> None:
    """The entry, in a transaction of its own."""
    with transaction.atomic(durable=True):
        audit(
            "policy.refuse",
            actor=facts.actor,
            object_type=facts.object_type,
            object_id=facts.object_id or str(facts.organisation.uuid),
            team_uuid=facts.organisation.uuid,
            source=facts.source,
            outcome=AuditEntry.Outcome.DENIED,
            particulars=Particulars(
                reason=decision.reason[:500],
                session=facts.session,
                data_class=facts.data_class,
                policy=decision.policy,
            ),
            details={**facts.details, "act": str(act), "rule": decision.rule},
        )


def title_of(rule: str) -> str:
    return TITLES.get(rule, rule)
