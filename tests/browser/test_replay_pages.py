"""Rollouts, comparison and re-execution as a newcomer meets them: from the page of a session, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from rlmweb.teams.models import Team
from runs.models import Job, Rollout, Session
from runs.services.jobs import run_job
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_snapshot_page import ran
from tests.runs.replay.forks.test_starting import fork
from tests.runs.replay.rollouts.test_rollouts import keep_until_over
from tests.runs.services.inline import run_to_end

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
PICTURES = os.environ.get("RLMWEB_TEST_PICTURES", "")
"""A folder for pictures of the pages; none are taken without."""


async def picture(page: Page, name: str) -> None:
    if not PICTURES:
        return
    folder = Path(PICTURES)
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": 1280, "height": 900})
        await page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True)
    await page.set_viewport_size({"width": 420, "height": 800})
    await page.screenshot(path=folder / f"{name}-narrow.png", full_page=True)
    await page.set_viewport_size({"width": 1280, "height": 900})


async def no_sideways_scroll(page: Page) -> None:
    await page.set_viewport_size({"width": 420, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.set_viewport_size({"width": 1280, "height": 900})


def work_off_jobs() -> None:
    from runs import tasks  # noqa: F401  # as a worker does: it registers the kinds of jobs

    for uuid in Job.objects.filter(status="ready").values_list("uuid", flat=True):
        run_job(uuid)


async def test_eight_branches_from_two_steps_are_rolled_out_and_plotted(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(ran, team)
    page = await open_page(session)
    await page.locator("#step-1").get_by_role("link", name="Roll out").click()
    await expect(page.get_by_label("step 1", exact=True)).to_be_checked()
    await page.get_by_label("step 2", exact=True).check()
    await page.get_by_label("Branches from each step").fill("4")
    await page.get_by_label("Expected answer").fill("done")
    await picture(page, "rollout-form")
    await no_sideways_scroll(page)
    await page.get_by_role("button", name="Start branches").click()
    await expect(page.locator("#rollout")).to_contain_text("0 of 8 branches scored")
    rollout = await in_thread(Rollout.objects.get)
    await in_thread(keep_until_over, rollout)
    await expect(page.locator("#rollout")).to_contain_text("8 of 8 branches scored", timeout=20_000)
    await expect(page.locator("circle.point")).to_have_count(2)
    await expect(page.locator(".branches tbody tr")).to_have_count(8)
    await picture(page, "rollout")
    await no_sideways_scroll(page)


async def test_two_branches_are_put_side_by_side(team: Team, open_page: OpenPage) -> None:
    session: Session = await in_thread(ran, team)
    reply = "```repl\nrows.append('<i>mine</i>')\nprint(rows)\n```"
    other: Session = await in_thread(lambda: run_to_end(fork(session, 1, reply=reply)))
    page = await open_page(session)
    await page.goto(f"{page.url.split('/sessions/')[0]}/compare/?a={session.uuid}&b={other.uuid}")
    await expect(page.locator(".divergence")).to_contain_text("They part at step 2 of the root")
    await expect(page.locator(".diff .plus").first).to_be_visible()
    await expect(page.locator(".strip a[aria-current]")).to_have_text("2")
    await expect(page.locator("table.variables")).to_contain_text("rows")
    await picture(page, "compare")
    await no_sideways_scroll(page)
    await page.locator(".strip a", has_text="1").first.click()
    await expect(page.locator(".strip a[aria-current]")).to_have_text("1")


async def test_a_session_is_run_again_and_found_identical(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(ran, team)
    page = await open_page(session)
    await page.locator("#step-2").get_by_role("link", name="Run again").click()
    await picture(page, "again-form")
    await page.get_by_role("button", name="Run again").click()
    await expect(page.locator("#reexecution")).to_contain_text("Waiting for a worker")
    await in_thread(work_off_jobs)
    await expect(page.get_by_role("heading", name="Identical")).to_be_visible(timeout=20_000)
    await expect(page.locator("#reexecution tbody tr")).to_have_count(4)
    await picture(page, "again")
    await no_sideways_scroll(page)
