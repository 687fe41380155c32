"""The overview as an admin sees it: full, empty, narrow and dark, and fresh by itself."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from rlmweb.teams.models import OrganisationMembership, Role, Team
from runs.models import Session
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session
from tests.live import Site
from tests.runs.views.test_overview import busy, fill

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
LONG = "a-team-without-a-place-to-break-" * 5


def set_up(team: Team, user: Any, sessions: int) -> Session:
    OrganisationMembership.objects.create(organisation=team.organisation, user=user, role=Role.ADMIN)
    if sessions:
        team.name = LONG
        team.save()
        fill(team)
    for number in range(sessions):
        busy(team, cost_usd=number / 7, created_by=user)
    return make_session(team, status=Session.Status.FINISHED)


@pytest.mark.parametrize("sessions", [0, 1000])
async def test_an_admin_sees_what_goes_on(
    open_page: OpenPage, site: Site, team: Team, user: Any, sessions: int
) -> None:
    page = await open_page(await in_thread(set_up, team, user, sessions))
    await page.goto(f"{site.address}/status/")
    await page.get_by_role("link", name="Overview").click()
    await expect(page.get_by_role("heading", name="Overview of")).to_be_visible()
    running = page.get_by_role("region", name="Running sessions")
    if sessions:
        await expect(running.get_by_role("row")).to_have_count(101)
        await expect(page.get_by_text("Steps that failed")).to_be_visible()
    else:
        await expect(page.get_by_text("No session runs.")).to_be_visible()
    await picture(page, f"overview-{sessions}")
    await no_sideways_scroll(page)


async def test_the_page_is_fresh_by_itself(open_page: OpenPage, site: Site, team: Team, user: Any) -> None:
    page = await open_page(await in_thread(set_up, team, user, 0))
    await page.goto(f"{site.address}/overview/{team.organisation.slug}/")
    await expect(page.get_by_text("No session runs.")).to_be_visible()
    session = await in_thread(busy, team)
    await page.evaluate("document.getElementById('overview').dispatchEvent(new CustomEvent('refresh'))")
    await expect(page.get_by_text(str(session.uuid)[:8])).to_be_visible()
