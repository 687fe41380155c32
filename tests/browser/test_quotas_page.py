"""Quotas in the browser: set by keyboard with a look at the effect, and told to who waits."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import expect

from rlmweb.quotas.models import Quota, Waiting
from rlmweb.quotas.scopes import WHOLE, Scope, user_uuid
from rlmweb.quotas.services import record_use, reserve
from rlmweb.teams.models import OrganisationMembership, Role, Team
from runs.models import Session
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session
from tests.live import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
HOSTILE = "<img src=x onerror=alert(1)>" * 6


def limit(team: Team, resource: str, most: int, period: str = "month", **fields: Any) -> Quota:
    return Quota.objects.create(
        scope_kind="team",
        scope_uuid=team.uuid,
        resource=resource,
        limit=most,
        period=period,
        set_by="ada",
        **fields,
    )


def fill(team: Team, user: Any) -> Session:
    OrganisationMembership.objects.create(organisation=team.organisation, user=user, role=Role.ADMIN)
    scopes = [
        WHOLE,
        Scope("organisation", team.organisation.uuid),
        Scope("team", team.uuid),
        Scope("user", user_uuid(user.pk)),
    ]
    for _ in range(12):
        record_use(scopes, {"sessions": 1, "cost_micro_usd": 710_000, "sandbox_ms": 4_000_000}, session=uuid4())
    limit(team, "cost_micro_usd", 10_000_000, note=HOSTILE)
    limit(team, "concurrent_sandboxes", 2, period="none", on_exceed="stop")
    limit(team, "nodes_per_session", 200, period="none")
    reserve(scopes, {"concurrent_sandboxes": 2}, holder=f"browser:{os.urandom(4).hex()}")
    session = make_session(team, created_by=user)
    Waiting.objects.create(
        step_uuid=uuid4(),
        session_uuid=session.uuid,
        scope_kind="team",
        scope_uuid=team.uuid,
        resource="concurrent_sandboxes",
        period="none",
        requested=1,
        sentence="Sandboxes at the same time of the team: 2 allowed, 2 used or reserved, 1 more asked for.",
    )
    return session


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 420)])
async def test_a_limit_is_set_by_keyboard_after_a_look_at_its_effect(
    open_page: OpenPage, site: Site, team: Team, user: Any, scheme: str, width: int
) -> None:
    session = await in_thread(fill, team, user)
    page = await open_page(session, color_scheme=scheme, viewport={"width": width, "height": 900})
    await expect(page.locator("#run-quotas")).to_contain_text("Waiting for a quota")
    await no_sideways_scroll(page)
    await picture(page, f"quotas-run-{scheme}")
    await page.goto(f"{site.address}/quotas/")
    section = page.locator(f"section[aria-labelledby='scope-{team.uuid}']")
    await expect(section).to_contain_text("8.52 USD")
    await expect(section).to_contain_text(HOSTILE[:20])
    await section.get_by_text("Set a limit").focus()
    await page.keyboard.press("Enter")
    await section.get_by_label("What", exact=True).select_option("sessions")
    await section.get_by_role("spinbutton", name="Limit").fill("9")
    await section.get_by_role("button", name="Show its effect").last.press("Enter")
    await expect(section).to_contain_text("3 of 12 sessions of last week would have been paused")
    await no_sideways_scroll(page)
    await picture(page, f"quotas-{scheme}")
    await section.get_by_role("button", name="Set the limit").press("Enter")
    await expect(page.get_by_text("sessions started are limited to 9")).to_be_visible()
    await expect(section).to_contain_text("9 a month")
    await page.goto(f"{site.address}/sessions/new/")
    await expect(page.get_by_text("Sessions started (team): 12 of 9")).to_be_visible()
    await no_sideways_scroll(page)
    await picture(page, f"quotas-start-{scheme}")
