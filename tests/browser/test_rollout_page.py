"""The pages of rollouts in a browser: the form shows what is asked, and the plot stands beside the tree."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from rlmweb.teams.models import Team
from runs.models import LmCall, RolloutBranch, Session
from runs.replay.rollouts.scorers import Exact
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.browser.test_snapshot_page import ran
from tests.runs.replay.rollouts.test_rollouts import begin, keep_until_over

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202e" + "long " * 60


def priced(team: Team) -> Session:
    session = ran(team)
    LmCall.objects.filter(session=session).update(cost_micro_usd=1_000)
    return session


def rolled_out(team: Team) -> Session:
    """Steps 1 to 3, of which the second spoils it; one branch of the third has no score."""
    session = ran(team)
    keep_until_over(begin(session, [0, 1, 2, 3], 3, Exact("done")))
    RolloutBranch.objects.filter(step_number__gte=2).update(score=0.0, note=HOSTILE)
    RolloutBranch.objects.filter(step_number=3, index=1).update(score=None)
    return session


async def test_the_form_shows_the_fields_of_the_scorer_and_the_expected_cost(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(priced, team)
    page = await open_page(session)
    await page.locator("#step-2").get_by_role("link", name="Roll out").click()
    estimate = page.locator("[data-show=estimate]")
    await expect(estimate).to_contain_text("4 branches, expected to cost about $0.0080")
    await page.get_by_label("Branches from each step").fill("8")
    await page.get_by_label(re.compile("before the first step")).check()
    await expect(estimate).to_contain_text("16 branches, expected to cost about $0.0480")
    shown: dict[str, list[Any]] = {
        "exact": ["Expected answer"],
        "numeric": ["Expected answer", "Tolerance"],
        "regex": ["Regular expression (Python)"],
        "python": ["Expected answer", "Python function"],
        "judge": ["Expected answer", "Rubric for the judge"],
    }
    names = {name for found in shown.values() for name in found}
    for kind, visible in shown.items():
        await page.get_by_label("A branch is right when").select_option(kind)
        for name in names:
            label = page.get_by_label(name, exact=True)
            await (expect(label).to_be_visible() if name in visible else expect(label).to_be_hidden())
    await no_sideways_scroll(page)


async def test_the_plot_beside_the_tree_leads_to_the_branches(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(rolled_out, team)
    page = await open_page(session)
    plot = page.locator(".shares-plot")
    await expect(plot.locator("circle.point")).to_have_count(4)
    await expect(plot.locator(".share.drop")).to_have_count(1)
    await expect(
        plot.get_by_role("link", name="From step 2: 0 of 3 end right; the largest drop is here")
    ).to_be_visible()
    await expect(plot.get_by_role("link", name="From step 3: 0 of 2 end right, 1 without a score")).to_be_visible()
    await picture(page, "run-with-shares")
    await plot.get_by_role("link", name=re.compile("From step 2")).focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(r"/rollouts/[0-9a-f-]+/#step-2$"))
    await expect(page.locator("p.drop")).to_contain_text(
        "after step 1, during step 2: the share of right branches falls by 100 percentage points"
    )
    await expect(page.locator("p.drop")).to_contain_text("The intervals overlap")
    await expect(page.locator("#step-2 .note").first).to_contain_text("<img src=x")
    assert await page.locator("img").count() == 0
    assert await page.title() != "owned"
    await picture(page, "rollout-drop")
    await no_sideways_scroll(page)
    await page.locator("#step-2").get_by_role("link", name="Compare").first.click()
    await expect(page).to_have_url(re.compile(rf"/compare/\?a={session.uuid}"))


async def test_a_session_without_rollouts_has_no_plot(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await in_thread(ran, team))
    await expect(page.locator("#step-1")).to_be_visible()
    await expect(page.locator(".shares")).to_be_hidden()
