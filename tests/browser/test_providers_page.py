"""Providers in the browser: a key is entered by keyboard, the order is changed, and a session is told what fits."""

from __future__ import annotations

from datetime import date

import pytest
from django.utils import timezone
from playwright.async_api import expect

from rlmweb.teams.models import Team
from runs.stream.database import in_thread
from sandboxes.accounts import keeping
from sandboxes.models import ProviderAccount
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session
from tests.live import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
LONG = "a-reason-without-a-place-to-break-" * 12


async def test_a_key_is_entered_and_the_order_changed_by_keyboard(team: Team, site: Site, open_page: OpenPage) -> None:
    page = await open_page(await in_thread(make_session, team))
    await page.goto(f"{site.address}/")
    await page.get_by_role("link", name="Providers").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Sandbox providers")).to_be_visible()
    await picture(page, "providers-empty")
    await page.get_by_text("Enter a key for Northflank").focus()
    await page.keyboard.press("Enter")
    token = page.locator("#id_northflank-api_token")
    await token.focus()
    await page.keyboard.type("nf-0123456789abcdefgh")
    await page.keyboard.press("Tab")
    await page.keyboard.type("rlm")
    await picture(page, "providers-entering")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The key for Northflank is stored")).to_be_visible()
    await expect(page.get_by_text("...efgh")).to_be_visible()
    assert "nf-0123456789abcdefgh" not in await page.content()
    await page.get_by_text("Change the order").focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("Sessions run at").select_option("northflank")
    await page.get_by_label("When it has no room, at").select_option("local")
    await page.get_by_role("button", name="Store the order").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Northflank, then This machine")).to_be_visible()
    await in_thread(_refuse, team)
    await page.reload()
    await expect(page.get_by_text(f"refused the token: {LONG[:60]}")).to_be_visible()
    await picture(page, "providers")
    await no_sideways_scroll(page)


def _refuse(team: Team) -> None:
    ProviderAccount.objects.filter(team=team).update(
        checked_at=timezone.now(), check_failed=True, check_text=f"Northflank refused the token: {LONG}"
    )
    keeping.add_attestation(
        team, "northflank", kind="BAA", scope=LONG, valid_until=date(2999, 1, 1), actor="ada", source="test"
    )


async def test_what_fits_is_shown_before_a_session_starts(team: Team, site: Site, open_page: OpenPage) -> None:
    page = await open_page(await in_thread(make_session, team))
    await page.goto(f"{site.address}/sessions/new/")
    await page.get_by_text("What the sandbox has to be").click()
    await page.get_by_label("GPU", exact=True).fill("H100")
    await page.get_by_role("button", name="Show which providers fit").click()
    await expect(page.locator("#fits").get_by_text("this machine has no NVIDIA GPU")).to_be_visible()
    await expect(page.locator("#fits tbody tr")).not_to_have_count(0)
    await picture(page, "new-session-fits")
    await page.get_by_label("GPUs per sandbox").fill("99")
    await page.get_by_role("button", name="Show which providers fit").click()
    await expect(page.locator("#fits [role=alert]")).to_be_visible()
    await no_sideways_scroll(page)
