"""Looking into a step in the browser: from the run page to a variable, an expression, a difference, a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from rlmweb.teams.models import Role, Team
from runs.access import Actor
from runs.models import Session
from runs.services.sessions import start_session
from runs.stream.database import in_thread
from sandboxes.manifest import Dropped, FileState
from tests.browser.conftest import OpenPage
from tests.factories import make_context, make_session, make_user, scripted_config
from tests.runs.services.inline import run_to_end
from tests.snapshotted import make_node, make_snapshot, variable

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
CELLS = ("rows = [{'n': 1}, {'n': 2}]", "rows.append({'n': 3})\ntotal = sum(row['n'] for row in rows)", "del total")
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202e\x1b[31m"


def ran(team: Team) -> Session:
    """A session that really ran, one cell a step."""
    replies = [*(f"```repl\n{cell}\n```" for cell in CELLS), "```repl\nFINAL('done')\n```"]
    rules = [
        {"when": {"kind": "turn", "depth": 0, "step": step}, "reply": reply} for step, reply in enumerate(replies, 1)
    ]
    session = start_session(
        actor=Actor(make_user(team), "test"),
        team=team,
        question="How many?",
        context=make_context(team, "alpha\nbeta\n"),
        config=scripted_config({"rules": rules, "default": {"reply": "?"}}),
    )
    return run_to_end(session)


def of(page: Page, name: str) -> Any:
    return page.locator(f'tbody[data-name="{name}"]')


async def at_step(page: Page, session: Session, step: int, more: str = "") -> None:
    site = re.match(r"https?://[^/]+", page.url)
    assert site is not None
    await page.goto(f"{site.group()}/sessions/{session.uuid}/nodes/0/steps/{step}/snapshot/{more}")


async def test_a_newcomer_looks_inside_a_step_and_evaluates(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(ran, team)
    page = await open_page(session)
    second = page.locator("#step-2")
    await expect(second.locator(".snapshot-line")).to_contain_text("Snapshot of variables")
    await second.get_by_role("link", name="Look inside").click()
    await expect(page.get_by_role("heading", name="State after step 2")).to_be_visible()
    await expect(of(page, "rows")).to_contain_text("changed")
    await expect(of(page, "total")).to_contain_text("new")
    await page.wait_for_load_state()  # until then nobody listens to keys
    await page.keyboard.press("e")
    await page.keyboard.type("len(context)")
    await page.keyboard.press("Control+Enter")
    newest = page.locator(".evaluation").first
    await expect(newest.locator(".value")).to_have_text("11", timeout=30_000)
    await expect(newest).to_contain_text("in a sandbox restored from the snapshot")
    await page.locator("#evaluate-code").fill("print('look')\nrows[7]")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".evaluation")).to_have_count(2)
    await expect(newest).to_contain_text("IndexError")
    await expect(newest.locator(".output")).to_have_text("look")


async def test_a_change_is_followed_over_the_steps_and_named(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(ran, team)
    page = await open_page(session)
    await at_step(page, session, 2)
    await of(page, "rows").get_by_role("button", name="Diff").click()
    await expect(of(page, "rows").locator(".diff")).to_contain_text("{'n': 3}")
    await of(page, "rows").get_by_role("button", name="Steps").click()
    points = of(page, "rows").locator(".point")
    await expect(points).to_have_count(4)
    await expect(points.nth(1)).to_have_attribute("aria-current", "step")
    await points.first.click()
    await expect(page.get_by_role("heading", name="State after step 1")).to_be_visible()
    await expect(of(page, "rows").locator(".strip")).to_be_visible()
    await page.locator("h1").click()
    await page.keyboard.press("]")
    await expect(page.get_by_role("heading", name="State after step 2")).to_be_visible()


async def test_a_variable_is_downloaded(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(ran, team)
    page = await open_page(session)
    await at_step(page, session, 2)
    await of(page, "rows").locator("summary").press("Enter")
    async with page.expect_download() as downloading:
        await of(page, "rows").get_by_role("button", name="JSON").click()
    found = await downloading.value
    assert found.suggested_filename == "rows-node0-step2.json"
    text = await in_thread(Path(await found.path()).read_text)
    assert json.loads(text) == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_the_cells_of_the_run_page_mark_what_changed(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(ran, team)
    page = await open_page(session)
    tables = page.locator(".variables")
    await expect(tables.nth(1)).to_contain_text("in this step")
    await page.locator(".detail").focus()
    await page.keyboard.press("v")
    await expect(page.locator("#step-1 .change-added", has_text="rows")).to_be_visible()
    await expect(page.locator("#step-2 .change-changed", has_text="rows")).to_be_visible()
    await expect(page.locator("#step-2 .change-added", has_text="total")).to_be_visible()
    await expect(page.locator("#step-3 .change-deleted", has_text="total")).to_be_visible()
    await expect(page.locator("#step-3 tr", has_text="rows").locator(".change-mark")).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 420])
async def test_hostile_names_and_values_do_nothing_and_nothing_sticks_out(
    team: Team, open_page: OpenPage, width: int
) -> None:
    def made_up() -> Session:
        session = make_session(team, title="Looked at")
        states = [
            variable(HOSTILE, 1),
            variable("value", HOSTILE, preview=HOSTILE, type=HOSTILE[:200], size=HOSTILE[:100]),
            variable("x" * 200, 10**300),
        ]
        dropped = [Dropped(name="gone", type=HOSTILE, reason=HOSTILE * 5)]
        files = [FileState(path=HOSTILE), FileState(path="y" * 900)]
        node = make_node(session)
        make_snapshot(node, 1, states, dropped=[], manifest={"dropped": dropped, "files": files})
        return session

    session = await in_thread(made_up)
    page = await open_page(session, viewport={"width": width, "height": 800})
    await at_step(page, session, 1, "?variable=value")
    await expect(of(page, "value").locator(".strip")).to_be_visible()
    await expect(of(page, "value")).to_contain_text("<img src=x")
    assert await page.locator("img").count() == 0
    assert await page.title() != "owned"
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_who_may_only_read_is_offered_nothing_that_runs(team: Team, site: Any, browser: Any) -> None:
    def made_up() -> tuple[Session, Any]:
        session = make_session(team)
        make_snapshot(make_node(session), 1, [variable("x", 1)])
        return session, site.cookie(make_user(team, Role.VIEWER))

    session, cookie = await in_thread(made_up)
    context = await browser.new_context()
    await context.add_cookies([cookie])
    page = await context.new_page()
    await page.goto(f"{site.address}/sessions/{session.uuid}/nodes/0/steps/1/snapshot/")
    await expect(of(page, "x")).to_be_visible()
    await expect(page.get_by_text("Your role lets you read this state")).to_be_visible()
    await expect(page.get_by_text("Download")).to_have_count(0)
    await context.close()
