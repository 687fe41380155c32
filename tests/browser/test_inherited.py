"""What a fork took over from its parent, on its page: steps, calls and costs are told apart from its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from rlmweb.teams.models import Team
from runs.models import Session
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.runs.replay.forks.test_starting import fork
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


def forked(team: Team) -> tuple[Session, Session]:
    source = run_cells(
        "x = llm_query('what is asked before the fork')\nprint(x)",
        "y = llm_query('what is asked again after it')\nprint(y)",
        team=team,
    )
    return source, run_to_end(fork(source, 1))


async def test_inherited_steps_are_marked_and_lead_to_the_parent(team: Team, open_page: OpenPage) -> None:
    source, session = await in_thread(forked, team)
    page = await open_page(session)
    link = page.locator("#step-1 .inherited-from")
    await expect(link).to_have_text("from the parent, step 1")
    await expect(page.locator("#step-2")).to_be_visible()
    await expect(page.locator("#step-2 .inherited-from")).to_be_hidden()
    rows = page.locator(".row:not([hidden])")
    await expect(rows.filter(has_text="before the fork")).to_have_class(words("inherited"))
    await expect(rows.filter(has_text="again after it")).not_to_have_class(words("inherited"))
    await expect(page.locator(".inherited-figure").nth(2)).to_have_text("+ 2 inherited")
    await page.locator(".scrub-legend summary").click()
    await expect(page.locator("[data-scrub=legend]")).to_contain_text("fork, inherited before it")
    await picture(page, "inherited")
    await no_sideways_scroll(page)
    await page.keyboard.press("Escape")
    await link.click()
    await page.wait_for_url(f"**/sessions/{source.uuid}/#node=0&step=1*")
    await expect(page.locator("#step-1")).to_be_visible()
    await expect(page.locator(".inherited-from:visible, .inherited-figure")).to_have_count(0)


def words(name: str) -> Any:
    return re.compile(rf"\b{name}\b")
