"""What a user sees of sessions that are over: every figure from the record, every text inert, every place addressable."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from rlmweb.teams.models import Team
from runs.blobs import blob_store
from runs.events import record
from runs.events.types import BlobText, CellOutput, SessionStarted
from runs.models import Session
from runs.stream.database import in_thread
from tests import trajectories
from tests.browser.conftest import OpenPage
from tests.recorded import make_recorded_session
from tests.trajectories import Trajectory

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


async def recorded(team: Team, log: Trajectory, **fields: Any) -> Session:
    return await in_thread(make_recorded_session, log, team, **fields)


def shown(page: Page, name: str) -> Any:
    return page.locator(f'[data-show="{name}"]')


def row(page: Page, words: str) -> Any:
    return page.locator(".row:visible", has_text=words)


async def seek(page: Page, seq: int) -> None:
    await page.locator("[data-scrub=range]").evaluate(
        "(range, seq) => { range.value = seq; range.dispatchEvent(new Event('input', { bubbles: true })); }", seq
    )


async def test_the_five_questions_are_answered_at_once(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.tour()))
    await expect(shown(page, "question")).to_contain_text("Which standard-library modules define a class named Parser")
    await expect(shown(page, "state")).to_contain_text("finished")
    await expect(shown(page, "outcome")).to_contain_text("configparser.RawConfigParser: 12")
    await expect(shown(page, "cost")).to_have_text("$0.00232")
    await expect(shown(page, "calls")).to_have_text("7")
    await expect(shown(page, "nodes")).to_have_text("2")
    await expect(shown(page, "errors")).to_have_text("1")
    await expect(shown(page, "labels")).to_contain_text("scripted")


async def test_the_tree_folds_a_batch_into_one_row_and_opens_it(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.tour()))
    await expect(page.locator(".row:visible")).to_have_count(3)
    await page.locator(".row", has=page.locator(".kind-batch")).locator(".twist").click()
    await expect(page.locator(".row:visible")).to_have_count(5)
    await expect(row(page, "How many methods? email.parser")).to_be_visible()


async def test_a_node_shows_its_code_output_error_and_variables(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.tour()))
    detail = page.locator(".detail")
    await expect(detail).to_contain_text("print(type(context), len(context))")
    await expect(detail).to_contain_text("<class 'str'> 12734221")
    await row(page, "Check configparser").click()
    await expect(detail).to_contain_text("IndexError")
    await expect(detail).to_contain_text('File "<cell>", line 3, in <module>')
    await expect(detail).not_to_contain_text("12734221")


async def test_a_sub_call_leads_to_its_node_and_the_path_leads_back(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.tour()))
    await page.locator(".subcall-line", has_text="Check configparser").click()
    await expect(page.locator(".row.selected")).to_contain_text("Check configparser")
    await expect(page).to_have_url(re.compile(r"#node=1"))
    await page.keyboard.press("Escape")
    await row(page, "Which standard-library").click()
    await expect(page).to_have_url(re.compile(r"#node=0"))


async def test_a_link_leads_to_the_same_node_and_moment(team: Team, open_page: OpenPage) -> None:
    session = await recorded(team, trajectories.tour())
    page = await open_page(session)
    await row(page, "Check configparser").click()
    await seek(page, 45)
    await expect(page).to_have_url(re.compile(r"seq=45"))
    again = await open_page(session, "#" + page.url.split("#")[1])
    await expect(again.locator(".row.selected")).to_contain_text("Check configparser")
    await expect(again.locator("[data-scrub=label]")).to_contain_text("45 / 61")
    await expect(again.locator("[data-scrub=range]")).to_have_value("45")


async def test_the_scrubber_shows_the_session_as_it_was(team: Team, open_page: OpenPage) -> None:
    log = trajectories.tour()
    page = await open_page(await recorded(team, log))
    await expect(page.locator(".row:visible")).to_have_count(3)
    await seek(page, 12)
    await expect(page.locator(".row:visible")).to_have_count(1)
    await expect(shown(page, "state")).to_contain_text("running")
    await expect(shown(page, "outcome")).to_be_hidden()
    await seek(page, len(log.events))
    await expect(page.locator(".row:visible")).to_have_count(3)
    await expect(shown(page, "state")).to_contain_text("finished")


async def test_playing_ends_at_the_end(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.tour()))
    await seek(page, 1)
    await page.locator("[data-scrub=speed]").select_option("16")
    await page.locator("[data-scrub=play]").click()
    await expect(page.locator("[data-scrub=label]")).to_contain_text("61 / 61")
    await expect(shown(page, "state")).to_contain_text("finished")


async def test_the_keyboard_walks_steps_errors_and_rows(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.tour()))
    await expect(page.locator(".row:visible")).to_have_count(3)
    await page.keyboard.press("j")
    await expect(page).to_have_url(re.compile(r"step=1"))
    await page.keyboard.press("j")
    await expect(page).to_have_url(re.compile(r"step=2"))
    await page.keyboard.press("k")
    await expect(page).to_have_url(re.compile(r"step=1"))
    await page.keyboard.press("[")
    await expect(page.locator(".row.selected")).to_contain_text("Check configparser")
    await page.locator(".tree").focus()
    await page.keyboard.press("Home")
    await expect(page.locator(".row.selected")).to_contain_text("Which standard-library")
    await page.keyboard.press("h")
    await expect(page.locator(".row:visible")).to_have_count(1)
    await page.keyboard.press("l")
    await expect(page.locator(".row:visible")).to_have_count(3)
    await page.keyboard.press("?")
    await expect(page.locator("dialog#keys")).to_be_visible()


async def test_searching_finds_a_node_by_its_prompt(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.tour()))
    await expect(page.locator(".row:visible")).to_have_count(3)
    await page.keyboard.press("/")
    await page.keyboard.type("configparser")
    await expect(page.locator(".row.found")).not_to_have_count(0)
    await expect(page.locator("[data-search=count]")).not_to_be_empty()


@pytest.mark.parametrize(
    ("name", "state", "says"),
    [
        ("failed", "failed", "The endpoint refused the key (401)"),
        ("limited", "limit", "about a third"),
        ("stopped", "stopped", ""),
    ],
)
async def test_a_session_that_ended_early_says_how(
    team: Team, open_page: OpenPage, name: str, state: str, says: str
) -> None:
    page = await open_page(await recorded(team, trajectories.fixtures()[name]))
    await expect(shown(page, "state")).to_contain_text(state)
    await expect(page.locator(".run-head, .detail").first).to_contain_text(says)


async def test_a_log_with_holes_is_shown_as_far_as_it_goes(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.with_gaps()))
    await expect(row(page, "late news of the root")).to_be_visible()
    await expect(row(page, "its parent is missing")).to_be_visible()


async def test_hostile_texts_stay_texts(team: Team, open_page: OpenPage) -> None:
    log = trajectories.hostile()
    started = log.events[0][1]
    assert isinstance(started, SessionStarted)
    evil = str(started.question)
    page = await open_page(await recorded(team, log, title=evil[:200], question=evil))
    await expect(page.locator(".detail")).to_contain_text("<img src=x onerror=")
    await expect(page.locator(".detail")).to_contain_text("red?")
    assert await page.locator("img, iframe, object, embed").count() == 0
    assert "owned" not in await page.title() or "<script>" in await page.title()
    scripts = await page.locator("script").evaluate_all("all => all.map((each) => each.getAttribute('src'))")
    assert all(src and src.startswith("/static/") for src in scripts)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_long_text_is_read_a_page_at_a_time(team: Team, open_page: OpenPage) -> None:
    text = "".join(f"line {n:06}\n" for n in range(20_000))  # 240 KB: four pages
    stored = blob_store().put(text.encode())
    log = Trajectory()
    root = log.begin("Print a lot at once")
    log.step(root, 1, "```repl\nprint(lines)\n```")
    log.cell(root, 1, 1, "print(lines)")
    excerpt = BlobText(stored.sha256, len(text), text[:480], text[-120:])
    log.add(CellOutput(node=root, step=1, cell=1, stream="stdout", text=excerpt))
    session = await recorded(team, log)
    await in_thread(record.note_blobs, session.pk, [stored])
    page = await open_page(session)
    detail = page.locator(".detail")
    await expect(detail).to_contain_text("line 000000")
    await expect(detail).to_contain_text("line 019999")
    await expect(detail).not_to_contain_text("line 001000")
    await detail.get_by_role("button", name=re.compile("show", re.I)).first.click()
    await expect(detail).to_contain_text("line 001000")
    assert len(await detail.inner_text()) < 100_000


async def test_ten_thousand_nodes_open_and_scroll_with_few_elements(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.grown(10_000)))
    await expect(page.locator(".row:visible").first).to_contain_text("Walk a tree of 10000 nodes")
    await expect(shown(page, "nodes")).to_have_text("10,000", timeout=60_000)
    tree = page.locator(".tree")
    await tree.focus()
    await page.keyboard.press("End")
    await expect(page.locator(".row.selected")).to_be_visible()
    assert await tree.evaluate("tree => tree.scrollTop") > 1000
    assert await page.locator(".row").count() < 120


async def test_a_phone_shows_one_pane_at_a_time_and_nothing_sticks_out(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.tour()), viewport={"width": 390, "height": 780})
    await expect(row(page, "Check configparser")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await row(page, "Check configparser").click()
    await expect(page.locator(".detail")).to_be_visible()
    await expect(page.locator(".detail")).to_contain_text("IndexError")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
