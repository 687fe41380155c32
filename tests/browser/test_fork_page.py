"""The fork form in a real browser: fields with what was recorded beside them, files as values, by keyboard alone."""

from __future__ import annotations

import pytest
from playwright.async_api import FilePayload, expect

from rlmweb.teams.models import Team
from runs.models import Session
from runs.services.config import config_from_plain
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.browser.test_snapshot_page import ran
from tests.runs.services.inline import run_to_end

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


async def test_what_is_changed_is_said_beside_its_field_and_in_the_list(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(ran, team)
    page = await open_page(session)
    await page.locator("#step-1").get_by_role("link", name="Fork").click()
    changes = page.locator("#changes")
    await expect(changes).to_contain_text("Nothing yet")
    await page.get_by_label("Steps per node").fill("9")
    await expect(changes).to_contain_text("Limit: Steps per node: 30 → 9")
    await expect(page.locator(".field", has=page.get_by_label("Steps per node"))).to_contain_text("Recorded: 30")
    await page.get_by_label("Question").fill("Why, and " + "how " * 40 + "come?")
    await page.get_by_label("Root model", exact=True).locator("select").select_option("scripted:tour")
    await expect(changes).to_contain_text("Root model: model: scripted:inline → scripted:tour")
    await page.get_by_label("Name of variable 1").fill("x")
    await page.get_by_label("New value of variable 1").fill("1 / 0")
    file = FilePayload(name="more.json", mimeType="application/json", buffer='{"größe": [1]}'.encode())
    await page.locator("[data-load]").nth(1).set_input_files(file)
    await page.get_by_label("Name of variable 2").fill("y")
    await expect(changes).to_contain_text('Variable y: JSON {"größe": [1]}')
    await picture(page, "fork-changed")
    await no_sideways_scroll(page)
    await page.get_by_role("button", name="Fork", exact=True).click()
    await expect(page.get_by_role("alert").first).to_contain_text("x could not be changed: ZeroDivisionError")
    await expect(page.get_by_label("Steps per node")).to_have_value("9")
    await picture(page, "fork-refused")
    await no_sideways_scroll(page)
    # What was recorded is still known after the server has shown the form again.
    await page.get_by_label("Steps per node").fill("30")
    await expect(changes).not_to_contain_text("Steps per node")
    assert await in_thread(Session.objects.count) == 1


async def test_a_fork_is_made_by_keyboard_alone(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(ran, team)
    page = await open_page(session)
    await page.goto(f"{page.url.split('#')[0]}nodes/0/steps/1/fork/")
    await page.get_by_label("Name of variable 1").focus()
    keys = page.keyboard
    await keys.type("extra")
    await keys.press("Tab")
    await keys.type("text")
    await keys.press("Tab")
    await keys.type("it's")
    await page.get_by_label("Temperature").first.focus()
    await keys.type("0.5")
    await expect(page.locator("#changes")).to_contain_text("Variable extra: text it's")
    await expect(page.locator("#changes")).to_contain_text("Root model: temperature: 0.5")
    await keys.press("Enter")
    await page.wait_for_url(lambda url: "/fork/" not in url and str(session.uuid) not in url)
    fork: Session = await in_thread(Session.objects.latest, "pk")
    assert config_from_plain(fork.config).root.sampling.temperature == 0.5
    assert (await in_thread(run_to_end, fork)).answer == "done"
