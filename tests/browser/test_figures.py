"""Figures of Plotly under the strict policy: drawn without a refusal on the console, in the colours of the page."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from rlmweb.teams.models import Team
from runs.access import Actor
from runs.models import LmCall, Rollout, Session
from runs.replay.changes import Changes
from runs.replay.rollouts.scorers import scorer_from_plain
from runs.replay.rollouts.starting import start_rollout
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.runs.replay.rollouts.test_rollouts import keep_until_over
from tests.runs.services.test_snapshots import run_cells

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


def spent(team: Team) -> Session:
    session = run_cells("a = llm_query('one')\nb = llm_query('two')", "c = llm_query('three')", team=team)
    LmCall.objects.filter(session=session).update(cost_micro_usd=250_000)
    return session


def rolled_out(team: Team) -> Rollout:
    session = run_cells("x = 1", "x = 2", team=team)
    scorer = scorer_from_plain({"kind": "exact", "expected": "done"})
    rollout = start_rollout(
        actor=Actor(session.created_by, "test"),
        session=session,
        node=0,
        steps=[1, 2],
        branches=2,
        scorer=scorer,
        changes=Changes(),
    )
    keep_until_over(rollout)
    return rollout


async def line_colour(page: Page) -> str:
    colour: str = await page.locator(".scatterlayer .js-line").first.evaluate("line => getComputedStyle(line).stroke")
    return colour


async def test_spending_is_drawn_in_dark_and_in_light(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(spent, team)
    page = await open_page(session, color_scheme="dark")
    await page.get_by_role("link", name="Cost and time").click()
    await expect(page.locator(".js-plotly-plot .scatterlayer .trace")).to_have_count(2, timeout=20_000)
    await expect(page.get_by_role("img", name=re.compile("Cost and tokens along the time"))).to_be_visible()
    await expect(page.locator(".figure-fallback")).to_be_hidden()
    dark = await line_colour(page)
    await page.emulate_media(color_scheme="light")
    await expect(page.locator(".scatterlayer .js-line").first).not_to_have_css("stroke", dark)
    await picture(page, "spending")
    await no_sideways_scroll(page)
    await page.get_by_role("link", name="root, step 1").click()
    await page.wait_for_url("**/#node=0&step=1*")


async def test_shares_are_drawn_and_lead_to_their_branches(team: Team, open_page: OpenPage) -> None:
    rollout = await in_thread(rolled_out, team)
    session = await in_thread(lambda: rollout.session)
    page = await open_page(session)
    await page.goto(f"{page.url.split('/sessions/')[0]}/rollouts/{rollout.uuid}/")
    points = page.locator(".js-plotly-plot .points path")
    await expect(points).to_have_count(2, timeout=20_000)
    await expect(page.locator("svg.chart")).to_be_hidden()
    await page.locator(".js-plotly-plot .nsewdrag").hover()
    await points.nth(1).hover(force=True)
    await expect(page.locator(".hoverlayer")).to_contain_text("2 of 2 right")
    await points.nth(1).click(force=True)
    await page.wait_for_url("**#step-2")
    await page.set_viewport_size({"width": 420, "height": 800})
    await expect(page.locator(".js-plotly-plot .main-svg").first).to_have_js_property("clientWidth", 354)
    await picture(page, "rollout-figure")
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        await expect(points.first).to_be_visible()
    await no_sideways_scroll(page)
    await page.emulate_media(media="print")
    await expect(page.locator("svg.chart")).to_be_visible()


async def test_without_the_script_the_other_chart_stands(team: Team, open_page: OpenPage) -> None:
    rollout = await in_thread(rolled_out, team)
    session = await in_thread(lambda: rollout.session)
    page = await open_page(session, java_script_enabled=False)
    await page.goto(f"{page.url.split('/sessions/')[0]}/rollouts/{rollout.uuid}/")
    await expect(page.locator("svg.chart circle.point")).to_have_count(2)
    await expect(page.locator("svg.chart")).to_be_visible()
