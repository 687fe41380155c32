"""The audit page in the browser: verified by keyboard alone, narrow and in both colour schemes."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from rlmweb.audit.record import record
from rlmweb.teams.models import OrganisationMembership, Role, Team
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session
from tests.live import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
HOSTILE = "<img src=x onerror=alert(1)>" * 8


def fill(team: Team) -> Any:
    for number in range(3):
        record(
            "session.stop",
            actor="a-name-without-a-place-to-break" * 4,
            object_type="session",
            object_id=f"{number}" * 60,
            team_uuid=team.uuid,
            outcome=("success", "denied", "error")[number],
            details={"text": HOSTILE},
        )
    return make_session(team)


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1280), ("light", 420)])
async def test_one_key_verifies(
    open_page: OpenPage, site: Site, team: Team, user: Any, scheme: str, width: int
) -> None:
    session = await in_thread(fill, team)
    await in_thread(
        lambda: OrganisationMembership.objects.create(organisation=team.organisation, user=user, role=Role.AUDITOR)
    )
    page = await open_page(session, color_scheme=scheme, viewport={"width": width, "height": 900})
    await page.goto(f"{site.address}/audit/?chain={team.organisation.uuid}")
    await page.get_by_role("button", name="Verify now").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#verdict")).to_contain_text("Intact.")
    assert await page.get_by_text(HOSTILE[:20]).count() > 0
    await no_sideways_scroll(page)
    await picture(page, f"audit-{scheme}")
