"""Under which policy a session starts: kept with it for as long as it lives."""

from __future__ import annotations

from typing import Any

from rlmweb.teams.models import Organisation
from rlmweb.teams.policies.current import policy_of
from rlmweb.teams.policies.rules import highest_class


def stamp(organisation: Organisation, *inherited: str) -> dict[str, Any]:
    """For `Session.policy`: under what it starts. `inherited`: data classes of what it is made of; the highest counts."""
    policy = policy_of(organisation)
    own = policy.rules.data_class if policy.rules is not None else "phi"
    return {"profile": policy.profile, "version": policy.version, "data_class": highest_class(own, *inherited)}
