"""Teams' keys for language-model APIs: added and deleted, never read back and never changed."""

from __future__ import annotations

from decimal import Decimal

from django.db import IntegrityError, transaction

from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Team
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.lm.keys import key_hint, seal_key
from runs.models import LmCredential
from runs.services.policy_facts import facts_in, model_facts_at


class NameTaken(ValueError):
    """The team has a key of this name already. Choose another name, or delete that one first."""


def add_credential(
    *,
    actor: Actor,
    team: Team,
    name: str,
    api: str,
    base_url: str = "",
    key: str = "",
    input_price_usd_per_million: Decimal | None = None,
    output_price_usd_per_million: Decimal | None = None,
) -> LmCredential:
    """Store a key, sealed together with its address. The caller has checked the address. Raises `NameTaken`,
    `PolicyRefused`."""
    require(Act.MODEL_KEY, facts_in(team, actor, models=(model_facts_at(api, base_url),)))
    try:
        with transaction.atomic():
            credential = LmCredential.objects.create(
                team=team,
                name=name,
                api=api,
                base_url=base_url,
                key_encrypted=seal_key(key, api=api, base_url=base_url),
                key_hint=key_hint(key) if key else "no key",
                input_price_usd_per_million=input_price_usd_per_million,
                output_price_usd_per_million=output_price_usd_per_million,
            )
            _audit("credential.add", credential, actor)
    except IntegrityError as error:
        raise NameTaken(NameTaken.__doc__) from error
    return credential


@transaction.atomic
def delete_credential(credential: LmCredential, *, actor: Actor) -> None:
    """Sessions that run with it fail at their next call, with an error that says why."""
    _audit("credential.delete", credential, actor)
    credential.delete()


def _audit(action: str, credential: LmCredential, actor: Actor) -> None:
    audit(
        action,
        actor=actor.name,
        object_type="credential",
        object_id=credential.uuid,
        team_uuid=credential.team.uuid,
        source=actor.source,
        details={"name": credential.name, "api": credential.api, "base_url": credential.base_url},
    )
