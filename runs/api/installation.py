"""What the installation has: models, sandbox providers, examples."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router

from runs.access import credentials_of
from runs.api.schemas import CatalogueEntry, CredentialOut, ModelsOut, ProviderOut
from runs.examples import all_examples
from runs.lm.embedded import status
from runs.lm.scripts import MODULES
from sandboxes.status import local_status

router = Router(tags=["installation"])


@router.get("/models", response=ModelsOut)
def models(request: HttpRequest) -> ModelsOut:
    """The local model and how far it is, the keys of your teams (never the keys themselves), and the scripts."""
    credentials = [CredentialOut.from_orm(row) for row in credentials_of(request.user).order_by("name")]
    return ModelsOut(
        embedded=dict(status()), credentials=credentials, scripted=[f"scripted:{name}" for name in MODULES]
    )


@router.get("/providers", response=list[ProviderOut])
def providers(request: HttpRequest) -> list[ProviderOut]:
    """Sandbox providers; `tiers` gives the reason against each way of isolation, empty where it passed its self-test."""
    local = local_status()
    return [ProviderOut(name=local.name, tier=local.tier, tiers=local.tiers, problem=local.problem)]


@router.get("/examples", response=list[CatalogueEntry])
def examples(request: HttpRequest) -> list[CatalogueEntry]:
    """Example tasks that `POST /contexts/example` builds."""
    return [CatalogueEntry.from_orm(example) for example in all_examples()]
