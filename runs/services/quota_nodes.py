"""How many nodes a session may have by its quotas: a cap for each session, so that nothing is shared and nothing waits."""

from __future__ import annotations

from rlmweb.quotas.models import Quota
from rlmweb.quotas.warnings import quotas_of
from runs.models import Session, SessionMeter
from runs.services.limits import Exceeded
from runs.services.quota_scopes import scopes_of_session


def refuse_nodes(session: Session, meter: SessionMeter, wanted: int) -> Exceeded | None:
    """The lowest cap of the session's scopes that `wanted` more nodes would break. Waiting would not help: it ends."""
    caps = quotas_of(scopes_of_session(session)).filter(resource="nodes_per_session")
    lowest: Quota | None = caps.order_by("limit").first()
    if lowest is None or meter.nodes + wanted <= lowest.limit:
        return None
    return Exceeded(f"quota.nodes_per_session.{lowest.scope_kind}", meter.nodes, lowest.limit)
