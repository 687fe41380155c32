"""The catalogue in the browser: a need by keyboard, the figure in dark and light, long strings, and no script at all."""

from __future__ import annotations

import re
from datetime import date

import pytest
from playwright.async_api import expect

from rlmweb.teams.models import Team
from runs.stream.database import in_thread
from sandboxes.catalogue.claims import Claim, Status, Support
from sandboxes.catalogue.keeping import add_row
from sandboxes.catalogue.models import ProviderMeasurement
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session
from tests.live import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
LONG = "a-value-without-a-place-to-break-" * 12


def fill(team: Team) -> None:
    add_row(
        team,
        Claim(
            provider="e2b",
            capability_key="gpu",
            kind="answer",
            claim_text="Sandboxes with a GPU",
            support=Support.LIMITED,
            value=LONG,
            status=Status.PARTLY,
            as_of=date(2026, 11, 1),
            source=f"https://contracts.example/{LONG}",
        ),
        actor="ada",
        source="test",
    )
    rows = [
        ProviderMeasurement(
            provider=provider, operation=operation, ms=base * (1 + n / 20), source=source, measured_from="bench-1"
        )
        for provider, factor in (("modal", 3.0), ("e2b", 1.0), ("local", 0.05))
        for operation, base in (("create", 900 * factor), ("exec", 40 * factor), ("terminate", 120 * factor))
        for n in range(20)
        for source in ("session", "loopback")
    ]
    ProviderMeasurement.objects.bulk_create(rows)


async def test_a_need_is_asked_for_by_keyboard_and_the_figure_is_drawn(
    team: Team, site: Site, open_page: OpenPage
) -> None:
    page = await open_page(await in_thread(make_session, team), color_scheme="dark")
    await page.goto(f"{site.address}/providers/")
    await page.get_by_role("link", name="Compare them, claim by claim").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Nothing was measured")).to_have_count(0)
    await expect(page.get_by_text("Nothing was measured in the last 90 days")).to_be_visible()
    await picture(page, "catalogue-empty")
    await in_thread(fill, team)
    await page.reload()
    await expect(page.locator(".js-plotly-plot .scatterlayer .trace")).to_have_count(3, timeout=20_000)
    await expect(page.get_by_role("img", name=re.compile("Measured at the providers"))).to_be_visible()
    await page.get_by_label("GPU", exact=True).focus()
    await page.keyboard.press("Space")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**need=gpu*")
    await expect(page.locator(".compared thead a")).to_have_text(
        ["Modal", "E2B", "Daytona", "Northflank", "Runloop", "This machine"]
    )
    await expect(page.locator(".verdicts")).to_contain_text("left out")
    await picture(page, "catalogue-gpu")
    await no_sideways_scroll(page)
    await page.locator(".compared thead").get_by_role("link", name="E2B").click()
    await page.get_by_role("link", name="Correct: GPU, No GPU").click()
    await expect(page.get_by_label("Claim", exact=True)).to_have_value("No GPU")
    await picture(page, "catalogue-provider")
    await no_sideways_scroll(page)


async def test_without_a_script_everything_but_the_drawing_is_there(
    team: Team, site: Site, open_page: OpenPage
) -> None:
    await in_thread(fill, team)
    page = await open_page(await in_thread(make_session, team), java_script_enabled=False)
    await page.goto(f"{site.address}/providers/catalogue/")
    await page.get_by_label("stale").check()
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator(".compared .claim-stale")).to_have_count(3)
    await expect(page.locator("#measured .figure-fallback")).to_be_visible()
    await expect(page.get_by_role("region", name="Measured at the providers").locator("tbody tr")).to_have_count(9)
