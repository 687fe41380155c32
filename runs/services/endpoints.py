"""Where a session's calls go: the client, with the team's key and the prices the team entered for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from django.conf import settings

from runs.lm.base import LmClient, ModelChoice, Usage
from runs.lm.errors import LmAuthFailed
from runs.lm.keys import open_key
from runs.lm.prices import Cost, TeamPrices, cost_of, estimate_micro_usd
from runs.lm.registry import client_for
from runs.models import LmCredential


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model choice of one team."""

    choice: ModelChoice
    sealed_key: bytes = b""
    prices: TeamPrices | None = None

    def client(self) -> LmClient:
        """Raises `LmError` when the choice, its address or its key cannot be used."""
        key = ""
        if self.sealed_key:
            key = open_key(self.sealed_key, api=self.choice.api, base_url=self.choice.base_url)
        return client_for(self.choice, key=key, allowed_hosts=settings.MODEL_HOSTS)

    def cost(self, usage: Usage) -> Cost:
        return cost_of(self.choice, usage, team=self.prices)

    def estimate_micro_usd(self, input_tokens: int, output_tokens: int) -> int | None:
        return estimate_micro_usd(self.choice, input_tokens, output_tokens, team=self.prices)


def endpoint_for(choice: ModelChoice, team_id: int) -> Endpoint:
    """Raises `LmAuthFailed` when the choice names a key that the team does not have (any more)."""
    if not choice.credential:
        return Endpoint(choice)
    sealed_key, prices = _credential(choice.credential, team_id)
    return Endpoint(choice, sealed_key, prices)


@lru_cache(maxsize=256)
def _credential(uuid: str, team_id: int) -> tuple[bytes, TeamPrices]:
    """Kept for the life of the worker: a credential is never changed, only deleted, and then no session can name it."""
    row = LmCredential.objects.filter(uuid=UUID(uuid), team_id=team_id).first()
    if row is None:
        raise LmAuthFailed("The key of this model was deleted or belongs to another team. Choose another one.")
    prices = TeamPrices(row.input_price_usd_per_million, row.output_price_usd_per_million)
    return bytes(row.key_encrypted), prices
