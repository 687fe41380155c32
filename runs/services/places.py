"""Where the sandboxes of a session may be made: checked before it starts, and looked up when one is needed."""

from __future__ import annotations

import logging

from rlmweb.teams.models import Team
from runs.engine.limits import Limits
from runs.services.config import InvalidConfig, SessionConfig
from sandboxes.accounts.opening import Place, place_of
from sandboxes.choosing import fit_of
from sandboxes.contract import Spec
from sandboxes.errors import SandboxError
from sandboxes.needs import Needs

logger = logging.getLogger(__name__)
GRACE_S = 600.0
LONGEST_S = 30 * 24 * 3600
"""Life of a sandbox whose session has no wall time limit."""


def check_places(config: SessionConfig, team: Team) -> None:
    """Can the session's sandboxes be had where it says? Raises `InvalidConfig` that names the field and the way out.

    Nothing is asked over the network and nothing is spent. Providers to fall back on may lack a key or not fit: they are
    passed over when it comes to that.
    """
    spec = session_spec(config)
    for name in (config.provider, *config.fallback):
        try:
            fit = fit_of(name, config.sandbox, spec, team)
        except SandboxError as error:
            raise InvalidConfig(f"provider: {error}") from error
        if name == config.provider and not fit.fits:
            first = fit.problems[0]
            raise InvalidConfig(f"{_field(first.field)}: {'; '.join(problem.message for problem in fit.problems)}")


def places_of(config: SessionConfig, team: Team) -> list[Place]:
    """Where to try, in order. Raises the `SandboxError` of the first; those to fall back on are left out when they cannot
    serve, since nobody chose them for this session."""
    spec = session_spec(config)
    places = [place_of(config.provider, team)]
    for name in config.fallback:
        if not fit_of(name, config.sandbox, spec, team).fits:
            continue
        try:
            places.append(place_of(name, team))
        except SandboxError as error:
            logger.warning("%s is passed over: %s", name, error)
    return places


def session_spec(config: SessionConfig, labels: dict[str, str] | None = None) -> Spec:
    """What the session asks of the sandbox of each node."""
    return spec_of(config.sandbox, config.limits, tier=config.tier, labels=labels)


def spec_of(needs: Needs, limits: Limits, *, tier: str = "", labels: dict[str, str] | None = None) -> Spec:
    # A node may wait for its children as long as the session may run; idle means nothing before that.
    most_s = LONGEST_S if limits.max_wall_s is None else min(LONGEST_S, int(limits.max_wall_s + GRACE_S))
    return needs.spec(memory_mb=limits.memory_mb, lifetime_s=most_s, idle_s=most_s, tier=tier, labels=labels)


def _field(name: str) -> str:
    """As the session's configuration calls it."""
    return {"memory_mb": "limits.memory_mb", "lifetime_s": "limits.max_wall_s", "idle_s": "limits.max_wall_s"}.get(
        name, name if name in ("provider", "tier") else f"sandbox.{name}"
    )
