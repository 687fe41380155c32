"""A re-execution that finds something, and a session that is started as repeatable, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from rlmweb.teams.models import Team
from runs.access import Actor
from runs.models import Session, Step
from runs.replay.reexecution.running import start_reexecution
from runs.services.config import config_from_plain
from runs.services.jobs import run_job
from runs.services.sessions import start_session
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_context, make_user, scripted_config
from tests.runs.services.inline import run_to_end

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
CELLS = (
    "rows = ['<b>alpha</b>'] * 3\nprint(rows, object())",
    "import time\nstamp = {'taken': time.time(), 'of': ['a' * 500, {'nested': [time.time()] * 3}]}\n"
    "print('word ' * 40 + str(time.time()))\nprint('unbroken' * 60)",
    "count = len(rows)\nprint(count, stamp['taken'])",
    "answer['content'] = 'done'\nanswer['ready'] = True",
)


def recorded(team: Team) -> Session:
    rules = [
        {"when": {"kind": "turn", "step": number}, "reply": f"```repl\n{cell}\n```"}
        for number, cell in enumerate(CELLS, start=1)
    ]
    session = start_session(
        actor=Actor(make_user(team), "test"),
        team=team,
        question="?",
        context=make_context(team, "text"),
        config=scripted_config({"rules": rules, "default": {"reply": "?"}}),
    )
    return run_to_end(session)


def executed_again(session: Session, *, changed: bool = False) -> str:
    if changed:
        step = Step.objects.get(node__session=session, number=1)
        step.state["cells"][0]["code"] += "  # changed"
        step.save()
    job = start_reexecution(actor=Actor(None, "test"), session=session)
    run_job(job.uuid)
    return str(job.uuid)


async def test_the_first_difference_is_shown_with_what_differs_inside(team: Team, open_page: OpenPage) -> None:
    session: Session = await in_thread(recorded, team)
    job = await in_thread(executed_again, session)
    page = await open_page(session)
    await page.goto(f"{page.url.split('/sessions/')[0]}/reexecutions/{job}/")
    await expect(page.get_by_role("heading", name="Diverged")).to_be_visible()
    first = page.get_by_role("region", name=re.compile("first difference is in step 2 of the root"))
    await expect(first).to_contain_text("time: the code looks at the clock")
    await expect(first.get_by_label("What differs inside")).to_contain_text("nested")
    await expect(page.locator("#reexecution tbody tr").nth(2)).to_contain_text("follows: step 2 had differed already")
    await expect(page.locator("#reexecution")).to_contain_text("Not counted as a difference: memory addresses")
    await picture(page, "again-diverged")
    await no_sideways_scroll(page)


async def test_a_record_that_was_changed_is_said_in_words(team: Team, open_page: OpenPage) -> None:
    session: Session = await in_thread(recorded, team)
    job = await in_thread(lambda: executed_again(session, changed=True))
    page = await open_page(session)
    await page.goto(f"{page.url.split('/sessions/')[0]}/reexecutions/{job}/")
    await expect(page.locator("#first-title")).to_contain_text("step 1 of the root")
    await expect(page.locator("details.part").first).to_contain_text("Changed code: the log has other code for cell 1")
    await expect(page.locator("pre.diff")).to_have_count(0)
    await picture(page, "again-changed")


async def test_a_session_is_started_as_repeatable(team: Team, open_page: OpenPage) -> None:
    session: Session = await in_thread(recorded, team)
    page = await open_page(session)
    await page.goto(f"{page.url.split('/sessions/')[0]}/sessions/new/")
    await page.get_by_text("Name and behaviour").click()
    await page.get_by_label("Freeze the clock").check()
    await page.get_by_label("Seed of randomness").fill("7")
    await picture(page, "start-repeatable")
    await no_sideways_scroll(page)
    await page.get_by_role("button", name="Start session").click()
    await page.wait_for_url(re.compile(r"/sessions/[0-9a-f-]{36}/"))
    started = await in_thread(lambda: Session.objects.order_by("-pk")[0])
    fixed = config_from_plain(started.config).determinism
    assert fixed.seed == 7
    assert fixed.clock is not None
