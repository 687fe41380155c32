"""A newcomer's first hour, all in the browser: start the example, go back to step 2, look, ask, fork, compare, roll out."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from rlmweb.teams.models import Team
from runs.models import Rollout, Session
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session
from tests.live import Site
from tests.runs.replay.rollouts.test_rollouts import keep_until_over
from tests.runs.services.inline import run_to_end

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


@pytest.mark.slow
async def test_from_the_example_to_branches_side_by_side(team: Team, open_page: OpenPage, site: Site) -> None:
    # A built-in example, with the scripted model.
    page = await open_page(await in_thread(make_session, team, status="finished"))
    await page.goto(f"{site.address}/sessions/new/")
    await page.locator(".tabs").get_by_text("Example", exact=True).click()
    await page.locator("input[value=s-niah]").check()
    await page.select_option("#id_example_size", "100000")
    await page.select_option("#id_root", "scripted:tour")
    await page.click("#start-button")
    await page.wait_for_url("**/sessions/*-*/")
    source: Session = await in_thread(Session.objects.latest, "pk")
    await in_thread(run_to_end, source, 120)
    await expect(page.locator('[data-show="state"]')).to_contain_text("finished", timeout=30_000)

    # Back to step 2, and what its variables were.
    await page.goto(f"{site.address}/sessions/{source.uuid}/#node=0&step=2")
    await page.locator("#step-2").get_by_role("link", name="Look inside").click()
    await expect(page.get_by_role("heading", name="State after step 2")).to_be_visible()
    await expect(page.locator('tbody[data-name="context"]')).to_contain_text("str")
    await page.locator("#evaluate-code").fill("len(context)")
    await page.locator("#evaluate-code").press("Control+Enter")
    value = page.locator(".evaluation .value").first
    await expect(value).to_have_text(re.compile(r"^\d+$"), timeout=30_000)

    # A fork with an edited prompt.
    await page.get_by_role("link", name="Fork from here").click()
    await page.locator("#question").fill("Which of the parts is the longest?")
    await expect(page.locator("#changes")).to_contain_text("Question")
    await picture(page, "fork")
    await no_sideways_scroll(page)
    await page.get_by_role("button", name="Fork", exact=True).click()
    await page.wait_for_url("**/sessions/*-*/")
    fork: Session = await in_thread(Session.objects.latest, "pk")
    assert fork.forked_from_id == source.pk
    await in_thread(run_to_end, fork, 120)
    await expect(page.locator(".forked")).to_contain_text("Forked after step 2")
    await picture(page, "forked")

    # Both branches side by side, and in the lineage.
    await page.locator(".forked").get_by_role("link", name="compare").click()
    await expect(page.locator(".outcome")).to_contain_text("Which of the parts is the longest?")
    await expect(page.locator(".strip a").first).to_have_class("equal")
    await page.goto(f"{site.address}/sessions/{fork.uuid}/lineage/")
    await expect(page.locator(".lineage li")).to_have_count(2)
    await picture(page, "lineage")

    # Eight branches from two steps.
    await page.goto(f"{site.address}/sessions/{source.uuid}/rollouts/new/?node=0&step=2")
    await page.get_by_label("step 3", exact=True).check()
    await page.get_by_label("Branches from each step").fill("4")
    await page.get_by_label("A branch is right when").select_option("contains")
    await page.get_by_label("Expected answer").fill("lines")
    await page.get_by_role("button", name="Start branches").click()
    rollout: Rollout = await in_thread(Rollout.objects.get)
    await in_thread(keep_until_over, rollout, 240)
    await expect(page.locator("#rollout")).to_contain_text("8 of 8 branches scored", timeout=30_000)
    await expect(page.locator("circle.point")).to_have_count(2)
