"""Two organisations that must not know of each other: everything that an address can name, in each, marked by a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from rlmweb.quotas.models import Quota
from rlmweb.teams.invitations import invite
from rlmweb.teams.models import ContentGrant, Role, Team
from rlmweb.teams.tokens import make_token
from runs.access import Actor
from runs.events.types import CellOutput
from runs.lm.keys import seal_key
from runs.models import BlobUse, Job, LmCredential, Rollout, Session, Share
from runs.replay.rollouts.scorers import Exact, scorer_to_plain
from runs.shares.sharing import Wanted, share_session
from sandboxes.catalogue.models import CatalogueRow
from sandboxes.models import ProviderAccount, ProviderAttestation
from tests.factories import make_context, make_organisation, make_session, make_team, make_user
from tests.recorded import record_events, write_trajectory
from tests.snapshotted import make_node, make_snapshot, variable
from tests.trajectories import tour

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
THEIRS = ("allauth", "django.contrib.admin", "django.views")
"""Views that are not ours: accounts concern the person who asks, the admin pages have a test of their own."""


@dataclass
class World:
    """`word` stands in every text of it. `named` are the ids that addresses take, by route and parameter."""

    word: str
    team: Team
    people: dict[str, Any]
    session: Session
    share: Share
    share_token: str
    named: dict[str, dict[str, object]] = field(default_factory=dict)

    def client(self, name: str) -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(self.people[name])
        return client

    def address(self, route: Route) -> str:
        """Raises `KeyError` for a parameter that nobody has thought about."""
        own = {**self.named["*"], **self.named.get(route.name, {})}
        return "/" + PARAMETER.sub(lambda found: str(own[found[1]]), route.path)


@dataclass(frozen=True)
class Route:
    """`path` as the URL configuration has it; `name` with its namespaces."""

    name: str
    path: str
    view: Any

    @property
    def names_something(self) -> bool:
        return PARAMETER.search(self.path) is not None


def routes() -> Iterator[Route]:
    """Every address of ours, from the URL configuration."""
    yield from _walk(get_resolver(), "", "")


def _walk(resolver: Any, namespace: str, above: str) -> Iterator[Route]:
    for each in resolver.url_patterns:
        own = str(each.pattern)
        if isinstance(each, URLResolver):
            inner = f"{namespace}{each.namespace}:" if each.namespace else namespace
            yield from _walk(each, inner, above + own)
        elif isinstance(each, URLPattern):
            view = getattr(each.callback, "view_class", each.callback)
            if not view.__module__.startswith(THEIRS) and not namespace.startswith("admin") and each.name:
                yield Route(f"{namespace}{each.name}", above + own, each.callback)


def make_world(word: str) -> World:
    team = make_team(
        make_organisation(name=f"{word} organisation", slug=word), name=f"{word} team", slug=f"{word}-team"
    )
    people = {role.value: make_user(team, role, username=f"{word}-{role.value}") for role in Role}
    context = make_context(team, f"{word} context", name=f"{word}.txt")
    session = make_session(
        team, title=f"{word} title", question=f"{word}?", context=context, created_by=people["researcher"]
    )
    write_trajectory(session, tour())
    record_events(session, CellOutput(node=0, step=1, cell=1, stream="stdout", text=f"{word} " * 1000))
    node = make_node(session, steps=2)
    make_snapshot(node, 1, [variable(f"{word}_variable", word)])
    lead = people["lead"]
    share, share_token = share_session(Actor(lead, "test"), session, Wanted("public", redaction="masked"))
    world = World(word, team, people, session, share, share_token)
    world.named = _named(world, context, share)
    return world


def _named(world: World, context: Any, share: Share) -> dict[str, dict[str, object]]:
    team, word, lead, session = world.team, world.word, world.people["lead"], world.session
    sealed = seal_key(f"{word}-key", api="openai", base_url="")
    key = LmCredential.objects.create(team=team, name=f"{word} key", api="openai", key_encrypted=sealed, key_hint="...")
    token, _ = make_token(lead, team, f"{word} token")
    account = ProviderAccount.objects.create(team=team, provider="northflank", hint="...", secrets_encrypted=b"x")
    attestation = ProviderAttestation.objects.create(
        team=team, provider="modal", kind="hipaa", valid_until=date(2030, 1, 1), reference=f"{word} contract"
    )
    jobs = {
        kind: Job.objects.create(kind=kind, team=team, session=session, created_by=lead, args={"text": word})
        for kind in ("reexecute", "import")
    }
    rollout = Rollout.objects.create(
        session=session, created_by=lead, steps=[1], branches_per_step=2, scorer=scorer_to_plain(Exact(expected=word))
    )
    invitation, _ = invite(lead, team.organisation, team, f"{word}@example.org", Role.VIEWER)
    grant = ContentGrant.objects.create(
        team=team,
        user=world.people["auditor"],
        granted_by=world.people["owner"],
        reason=f"{word} case",
        expires_at=timezone.now() - timedelta(minutes=1),
    )
    blob = BlobUse.objects.filter(session=session).order_by("-id").first()
    assert blob is not None
    claim = CatalogueRow.objects.create(
        team=team,
        provider="modal",
        capability_key="gpu",
        claim_text=f"{word} claim",
        value=word,
        status="confirmed",
        as_of=date(2026, 11, 1),
        source=f"{word} source",
        entered_by=lead.username,
    )
    quota = Quota.objects.create(
        scope_kind="organisation",
        scope_uuid=team.organisation.uuid,
        resource="sessions",
        limit=1_000,
        period="day",
        note=f"{word} note",
        set_by=f"{word} owner",
    )
    uuids: dict[str, object] = {
        "sandboxes:catalogue_row_remove": claim.uuid,
        "quotas:remove": quota.uuid,
        "runs:context_preview": context.uuid,
        "runs:api:get_context": context.uuid,
        "runs:key_delete": key.uuid,
        "runs:token_revoke": token.uuid,
        "runs:account_check": account.uuid,
        "runs:account_remove": account.uuid,
        "runs:attestation_remove": attestation.uuid,
        "runs:reexecution": jobs["reexecute"].uuid,
        "runs:reexecution_stop": jobs["reexecute"].uuid,
        "runs:api:get_reexecution": jobs["reexecute"].uuid,
        "runs:import": jobs["import"].uuid,
        "runs:import_stop": jobs["import"].uuid,
        "runs:api:get_import": jobs["import"].uuid,
        "teams:withdraw": invitation.uuid,
        "teams:content_end": grant.uuid,
    }
    for name in ("rollout", "rollout_figure", "rollout_stop", "rollout_export"):
        uuids[f"runs:{name}"] = rollout.uuid
    for name in ("get_rollout", "get_branches", "stop_rollout"):
        uuids[f"runs:api:{name}"] = rollout.uuid
    common: dict[str, object] = {
        "uuid": session.uuid,
        "node": 0,
        "step": 1,
        "slug": team.organisation.slug,
        "name": "northflank",
        "form": "json",
        "sha256": blob.sha256,
        "public_id": share.public_id,
        "share": share.uuid,
        "chain": team.organisation.uuid,
        "token": "no-token",
        "ticket": uuid4(),
        "provider": "modal",
        "number": 1,
    }
    elsewhere: dict[str, object] = {"provider_id": "sso"}
    file: dict[str, object] = {"name": "running"}
    return {
        "*": common,
        "leave_for_provider": elsewhere,
        "runs:overview_file": file,
        **{route: {"uuid": uuid} for route, uuid in uuids.items()},
    }
