"""Playback: going through the record by event, by step, by error and by change of a variable, and playing it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from rlmweb.teams.models import Team
from runs.events.types import (
    CellOutput,
    CellStarted,
    ErrorInfo,
    NodeFinished,
    NodeStarted,
    SessionFinished,
    SessionStarted,
    SnapshotTaken,
    StepFinished,
    StepStarted,
    VariableInfo,
)
from runs.models import Node, Session
from runs.stream.database import in_thread
from tests import trajectories
from tests.browser.conftest import OpenPage
from tests.factories import make_session
from tests.recorded import make_recorded_session, record_events
from tests.trajectories import Trajectory

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


def variables_change() -> Trajectory:
    """Four steps: `rows` changes in 1, 3 and 4, where it is deleted; step 2 fails; a child has a `rows` of its own."""
    log = Trajectory()
    root = log.begin("Which rows are left?")
    changed = [["rows", "total"], ["total"], ["rows"], ["-rows", "<b>name</b>"]]
    for number, names in enumerate(changed, start=1):
        code = f"rows = work({number})"
        log.step(root, number, f"```repl\n{code}\n```")
        wrong = ErrorInfo("ValueError", "no such row") if number == 2 else None
        status = "error" if wrong else "ok"
        log.cell(root, number, 1, code, status=status, error=wrong, variables=[VariableInfo("rows", "list", "3")])
        log.add(StepFinished(node=root, step=number, status="finished"))
        log.add(SnapshotTaken(node=root, step=number, snapshot=f"s{number}", holds=["variables"], changed=names))
    child = log.node("Look at the rest", parent=root, depth=1, step=4, cell=1, subcall="c1")
    log.step(child, 1, "```repl\nrows = []\n```")
    log.cell(child, 1, 1, "rows = []")
    log.add(StepFinished(node=child, step=1, status="finished"))
    log.add(SnapshotTaken(node=child, step=1, snapshot="s5", holds=["variables"], changed=["rows"]))
    log.add(NodeFinished(node=child, status="finished", answer="none"))
    log.finish(answer="three")
    return log


async def recorded(team: Team, log: Trajectory) -> Session:
    return await in_thread(make_recorded_session, log, team)


def scrub(page: Page, name: str) -> Any:
    return page.locator(f'[data-scrub="{name}"]')


async def opened(open_page: OpenPage, session: Session, log: Trajectory, hash_: str = "") -> Page:
    """The page with the whole log in it: before that there is nothing to go to."""
    page = await open_page(session, hash_)
    await expect(scrub(page, "label")).to_contain_text(f"/ {len(log.events)} ")
    return page


async def position(page: Page) -> int:
    return int(await scrub(page, "range").input_value())


def seqs(log: Trajectory, kind: str, node: int = 0) -> list[int]:
    of_node = [(n, event) for n, (_, event) in enumerate(log.events, start=1) if getattr(event, "node", None) == node]
    return [n for n, event in of_node if type(event).__name__ == kind]


async def test_one_goes_from_the_end_of_a_step_to_the_next_and_back(team: Team, open_page: OpenPage) -> None:
    log = variables_change()
    page = await opened(open_page, await recorded(team, log), log, "#node=0&seq=1")
    ends = seqs(log, "StepFinished")
    for number, end in enumerate(ends, start=1):
        await page.keyboard.press("J")
        await expect(scrub(page, "range")).to_have_value(str(end))
        await expect(page.locator(".step.selected")).to_contain_text(f"Step {number}")
        await expect(page.locator(".detail .step")).to_have_count(number)
    await page.keyboard.press("J")
    await expect(scrub(page, "range")).to_have_value(str(len(log.events)))
    await scrub(page, "step-back").click()
    await expect(scrub(page, "range")).to_have_value(str(ends[-1]))
    await page.keyboard.press("K")
    await expect(page).to_have_url(re.compile(rf"step=3&seq={ends[-2]}"))


async def test_a_watched_variable_is_followed_from_change_to_change(team: Team, open_page: OpenPage) -> None:
    log = variables_change()
    page = await opened(open_page, await recorded(team, log), log)
    taken = seqs(log, "SnapshotTaken")
    await scrub(page, "variable").select_option("rows")
    await expect(scrub(page, "variable-place")).to_have_text("3 of 3")
    await page.locator(".detail").click()
    await page.keyboard.press("p")
    await expect(scrub(page, "range")).to_have_value(str(taken[3]))
    await expect(scrub(page, "variable-place")).to_have_text("3 of 3 · step 4, deleted")
    await scrub(page, "variable-back").click()
    await expect(scrub(page, "range")).to_have_value(str(taken[2]))
    await page.keyboard.press("p")
    await expect(scrub(page, "range")).to_have_value(str(taken[0]))
    await expect(page.locator(".detail .step")).to_have_count(1)
    await page.keyboard.press("n")
    await expect(page.locator(".step.selected")).to_contain_text("Step 3")
    # The child has a variable of that name too: its changes are its own.
    await scrub(page, "follow").click()
    await page.locator(".row", has_text="Look at the rest").click()
    await expect(scrub(page, "variable-place")).to_have_text("1 of 1")


async def test_the_address_keeps_the_moment_and_the_variable(team: Team, open_page: OpenPage) -> None:
    log = variables_change()
    session = await recorded(team, log)
    page = await opened(open_page, session, log)
    await scrub(page, "variable").select_option("<b>name</b>")
    await scrub(page, "variable-back").click()
    await expect(page).to_have_url(re.compile(r"watch="))
    await expect(page).to_have_url(re.compile(r"seq=\d+"))
    again = await opened(open_page, session, log, "#" + page.url.split("#")[1])
    await expect(scrub(again, "variable")).to_have_value("<b>name</b>")
    await expect(scrub(again, "variable-place")).to_have_text("1 of 1 · step 4")
    await expect(scrub(again, "range")).to_have_value(str(await position(page)))
    assert await again.locator("footer b").count() == 0


async def test_a_variable_that_a_link_invents_does_no_harm(team: Team, open_page: OpenPage) -> None:
    page = await opened(
        open_page, await recorded(team, variables_change()), variables_change(), "#node=0&watch=%3Cscript%3Enone"
    )
    await expect(scrub(page, "variable")).to_have_value("<script>none")
    await expect(scrub(page, "variable-place")).to_have_text("no change in this node")
    before = await position(page)
    await page.keyboard.press("p")
    assert await position(page) == before


def child_at_work() -> Trajectory:
    """A child that says something every few seconds, for as long as anybody watches."""
    log = Trajectory()
    root = log.begin("What does the child say?")
    log.step(root, 1, "```repl\nrlm_query('Say something')\n```")
    child = log.node("Say something", parent=root, depth=1, step=1, cell=1, subcall="c1")
    for number in range(1, 20):
        log.at_ms += 5_000
        log.step(child, number, f"This is word {number}.")
        log.add(StepFinished(node=child, step=number, status="finished"))
    log.add(NodeFinished(node=child, status="finished", answer="said"))
    log.finish(answer="enough")
    return log


async def test_playing_goes_along_with_what_happens_until_somebody_reads(team: Team, open_page: OpenPage) -> None:
    log = child_at_work()
    page = await opened(open_page, await recorded(team, log), log, "#node=0&seq=2")
    await page.locator(".detail").click()
    await page.keyboard.press(" ")
    await expect(scrub(page, "play")).to_have_attribute("aria-label", "Pause")
    await expect(page.locator(".row.selected")).to_contain_text("Say something")
    await expect(page).to_have_url(re.compile(r"node=1&seq=\d+"))
    await page.locator(".row.root").click()
    await scrub(page, "speed").select_option("256")
    await expect(scrub(page, "label")).to_contain_text(f"{len(log.events)} / {len(log.events)}")
    await expect(page.locator(".row.selected")).to_contain_text("What does the child say?")
    await expect(scrub(page, "play")).to_have_attribute("aria-label", "Play the record")
    await expect(page).to_have_url(re.compile(r"#node=0$"))


async def test_the_keyboard_changes_the_speed(team: Team, open_page: OpenPage) -> None:
    page = await opened(open_page, await recorded(team, trajectories.tour()), trajectories.tour())
    await page.keyboard.press(">")
    await expect(scrub(page, "speed")).to_have_value("16")
    for _ in range(9):
        await page.keyboard.press("<")
    await expect(scrub(page, "speed")).to_have_value("0.5")


async def test_errors_are_looked_for_from_where_one_stands(team: Team, open_page: OpenPage) -> None:
    log = variables_change()
    page = await opened(open_page, await recorded(team, log), log, "#node=0&seq=2")
    failed = seqs(log, "CellFinished")[1]
    await page.keyboard.press("]")
    await expect(scrub(page, "range")).to_have_value(str(failed))
    await page.keyboard.press(".")
    await page.keyboard.press("[")
    await expect(scrub(page, "range")).to_have_value(str(failed))
    await expect(page.locator(".detail")).to_contain_text("no such row")


async def test_the_legend_names_and_counts_the_marks(team: Team, open_page: OpenPage) -> None:
    page = await opened(open_page, await recorded(team, variables_change()), variables_change())
    await scrub(page, "variable").select_option("total")
    await page.locator("summary", has_text="Marks").click()
    lines = [" ".join(text.split()) for text in await page.locator("[data-scrub=legend] li").all_inner_texts()]
    assert lines == [
        "steps 5",
        "sub-calls 0",
        "snapshots 5",
        "changes of the variable 2",
        "limits 0",
        "errors 1",
        "answer 1",
    ]
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture
def running(team: Team, user: Any) -> Session:
    made = make_session(team, created_by=user)
    Node.objects.create(session=made, number=0, depth=0)
    return made


async def test_playing_a_running_session_catches_up_and_goes_on_live(running: Session, open_page: OpenPage) -> None:
    context: dict[str, str | int] = {"name": "c.txt", "kind": "text", "size_bytes": 17, "sha256": "0" * 64}
    await in_thread(
        record_events,
        running,
        SessionStarted(title="t", question=running.question, context=context),
        NodeStarted(node=0, parent=None, depth=0, prompt=running.question, model="m"),
        StepStarted(node=0, step=1),
        CellStarted(node=0, step=1, cell=1, code="work()"),
    )
    page = await open_page(running, "#node=0&seq=2")
    await expect(scrub(page, "label")).to_contain_text("2 / 4")
    await in_thread(record_events, running, CellOutput(node=0, step=1, cell=1, stream="stdout", text="while reading\n"))
    await expect(scrub(page, "label")).to_contain_text("2 / 5")
    await expect(page.locator(".detail")).not_to_contain_text("while reading")
    await scrub(page, "play").click()
    await expect(page.locator(".detail")).to_contain_text("while reading")
    await expect(scrub(page, "follow")).to_have_attribute("aria-pressed", "true")
    await in_thread(record_events, running, SessionFinished(status="finished", answer="caught up"))
    await expect(page.locator('[data-show="outcome"]')).to_contain_text("caught up")


async def test_ten_thousand_nodes_are_scrubbed_and_played_smoothly(team: Team, open_page: OpenPage) -> None:
    page = await open_page(await recorded(team, trajectories.grown(10_000)))
    await expect(page.locator('[data-show="nodes"]')).to_have_text("10,000", timeout=60_000)
    took = await page.evaluate(
        """async () => {
          const range = document.querySelector("[data-scrub=range]");
          const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          const took = [];
          for (let n = 0; n < 40; n++) {
            range.value = Math.round(1 + ((n * 17) % 40) / 40 * range.max);
            const start = performance.now();
            range.dispatchEvent(new Event("input", { bubbles: true }));
            await frame();
            took.push(performance.now() - start);
          }
          return took.sort((a, b) => a - b);
        }"""
    )
    assert len(took) == 40  # each jump came to its frame
    await scrub(page, "speed").select_option("256")
    before = await position(page)
    await scrub(page, "play").click()
    await expect(scrub(page, "range")).not_to_have_value(str(before))
    await scrub(page, "play").click()
    assert await page.locator(".row").count() < 120
