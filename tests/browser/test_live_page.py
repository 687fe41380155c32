"""Sessions that are still running, watched in a real browser: nothing is lost, and the reader is left in peace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, WebSocket, expect

from rlmweb.teams.models import Membership, Team
from runs.events.types import (
    CellFinished,
    CellOutput,
    CellStarted,
    ErrorInfo,
    LmFinished,
    LmOutput,
    LmStarted,
    NodeFinished,
    NodeStarted,
    SessionFinished,
    SessionStarted,
    StepFinished,
    StepStarted,
)
from runs.models import Node, Session
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.factories import make_session
from tests.live import Site
from tests.recorded import record_events, write_trajectory
from tests.trajectories import grown

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]

QUIET_LONGER_THAN_A_READ_TIMEOUT_S = 7.0


@pytest.fixture
def session(team: Team, user: Any) -> Session:
    made = make_session(team, created_by=user)
    Node.objects.create(session=made, number=0, depth=0)
    return made


async def commit(session: Session, *events: Any) -> int:
    return await in_thread(record_events, session, *events)


async def begin(session: Session) -> None:
    """The events of a session that has just begun, with a cell running."""
    context: dict[str, str | int] = {"name": "c.txt", "kind": "text", "size_bytes": 17, "sha256": "0" * 64}
    await commit(
        session,
        SessionStarted(title="t", question=session.question, context=context),
        NodeStarted(node=0, parent=None, depth=0, prompt=session.question, model="scripted:tour"),
        StepStarted(node=0, step=1),
        CellStarted(node=0, step=1, cell=1, code="work()"),
    )


def output(text: str) -> CellOutput:
    return CellOutput(node=0, step=1, cell=1, stream="stdout", text=text)


def shown(page: Page, name: str) -> Any:
    return page.locator(f'[data-show="{name}"]')


async def test_a_page_opened_before_the_first_event_grows_with_the_session(
    session: Session, open_page: OpenPage
) -> None:
    page = await open_page(session)
    await expect(page.locator(".run")).to_be_visible()
    await begin(session)
    await expect(page.locator(".row:visible")).to_have_count(1)
    await expect(page.locator(".detail")).to_contain_text("work()")
    await commit(session, output("first line\n"))
    await expect(page.locator(".detail")).to_contain_text("first line")
    await commit(
        session,
        CellFinished(node=0, step=1, cell=1, status="ok", answered=True),
        StepFinished(node=0, step=1, status="finished"),
        NodeFinished(node=0, status="finished", answer="forty-two"),
        SessionFinished(status="finished", answer="forty-two"),
    )
    await expect(shown(page, "state")).to_contain_text("finished")
    await expect(shown(page, "outcome")).to_contain_text("forty-two")


async def test_a_reply_is_read_while_the_model_writes_it(session: Session, open_page: OpenPage) -> None:
    await begin(session)
    page = await open_page(session)
    await commit(session, LmStarted(node=0, step=1, call=1, kind="turn", model="m"))
    await commit(session, LmOutput(node=0, call=1, text="Let me think"))
    await expect(page.locator(".detail")).to_contain_text("Let me think")
    await commit(session, LmOutput(node=0, call=1, text=" about this"))
    await expect(page.locator(".detail")).to_contain_text("Let me think about this")
    await commit(session, LmFinished(node=0, call=1, reply="Let me think about this. Done."))
    await expect(page.locator(".detail")).to_contain_text("Done.")


async def test_two_pages_of_one_session_see_the_same_and_stand_where_their_readers_are(
    session: Session, open_page: OpenPage
) -> None:
    await begin(session)
    one, two = await open_page(session), await open_page(session)
    await commit(session, NodeStarted(node=1, parent=0, depth=1, prompt="the left half", model="m"))
    for page in (one, two):
        await expect(page.locator(".row:visible")).to_have_count(2)
    await one.locator(".row", has_text="the left half").click()
    await commit(session, *[output(f"line {n}\n") for n in range(300)])
    await expect(two.locator(".detail")).to_contain_text("line 299")
    await expect(one.locator(".row.selected")).to_contain_text("the left half")
    await expect(one.locator("[data-scrub=label]")).to_contain_text("305 / 305")
    await expect(two.locator("[data-scrub=label]")).to_contain_text("305 / 305")


async def test_a_page_whose_server_was_killed_says_so_and_catches_up(
    session: Session, open_page: OpenPage, site: Site
) -> None:
    await begin(session)
    page = await open_page(session)
    await commit(session, output("before\n"))
    await expect(page.locator(".detail")).to_contain_text("before")
    site.kill()
    try:
        await expect(shown(page, "connection")).to_contain_text("reconnecting")
        await commit(session, output("meanwhile\n"))
    finally:
        site.restart()
    await expect(page.locator(".detail")).to_contain_text("meanwhile", timeout=30_000)
    await expect(shown(page, "connection")).to_be_empty()
    await commit(session, output("after\n"))
    await expect(page.locator(".detail")).to_contain_text("after")
    assert (await page.locator(".detail").inner_text()).count("before") == 1


async def test_a_page_that_hangs_holds_nobody_up_and_catches_up(session: Session, open_page: OpenPage) -> None:
    await begin(session)
    hanging, healthy = await open_page(session), await open_page(session)
    for page in (hanging, healthy):
        await expect(page.locator(".row:visible")).to_have_count(1)
    await hanging.evaluate(
        "setTimeout(() => { const end = performance.now() + 4000; while (performance.now() < end); }, 0)"
    )
    await in_thread(write_trajectory, session, grown(1500))
    last = await commit(session, output("the last line\n"))
    await expect(healthy.locator("[data-scrub=label]")).to_contain_text(f"{last:,} / {last:,}", timeout=30_000)
    await expect(hanging.locator("[data-scrub=label]")).to_contain_text(f"{last:,} / {last:,}", timeout=30_000)


@pytest.mark.slow
async def test_a_quiet_page_stays_connected(session: Session, open_page: OpenPage, websockets: list[WebSocket]) -> None:
    await begin(session)
    page = await open_page(session)
    await commit(session, output("before\n"))
    await expect(page.locator(".detail")).to_contain_text("before")
    # What came before may have been read without the socket, which then opens a moment later.
    socket = websockets[0] if websockets else await page.wait_for_event("websocket")
    closed = asyncio.ensure_future(socket.wait_for_event("close", timeout=60_000))
    await asyncio.wait([closed], timeout=QUIET_LONGER_THAN_A_READ_TIMEOUT_S)
    assert not closed.done()
    closed.cancel()
    await asyncio.wait([closed])
    await commit(session, output("still here\n"))
    await expect(page.locator(".detail")).to_contain_text("still here")
    assert len(websockets) == 1


async def test_a_reader_is_neither_moved_nor_interrupted_by_new_events(session: Session, open_page: OpenPage) -> None:
    await begin(session)
    await commit(session, *[output(f"line {n}\n") for n in range(200)])
    page = await open_page(session, "#node=0")
    detail = page.locator(".detail")
    await expect(detail).to_contain_text("line 199")
    await page.locator(".search input").focus()
    await page.locator(".detail").evaluate("each => { each.scrollTop = 300; }")
    place = await detail.evaluate("each => each.scrollTop")
    await commit(session, *[output(f"new line {n}\n") for n in range(50)])
    await expect(page.locator("[data-scrub=label]")).to_contain_text("254 / 254")
    assert await detail.evaluate("each => each.scrollTop") == place
    assert await page.evaluate("document.activeElement.type") == "search"
    await expect(page.locator(".pill")).to_contain_text("50 new events")
    await page.locator(".pill").click()
    await expect(page.locator(".pill")).to_be_hidden()


async def test_the_position_of_a_reader_in_the_past_does_not_move_with_the_present(
    session: Session, open_page: OpenPage
) -> None:
    await begin(session)
    page = await open_page(session, "#node=0&seq=3")
    await expect(page.locator("[data-scrub=label]")).to_contain_text("3 / 4")
    await commit(session, output("later\n"))
    await expect(page.locator("[data-scrub=label]")).to_contain_text("3 / 5")
    await expect(page.locator(".detail")).not_to_contain_text("later")
    await page.keyboard.press("f")
    await expect(page.locator(".detail")).to_contain_text("later")


async def test_stopping_asks_once_more_and_shows_the_end_at_once(session: Session, open_page: OpenPage) -> None:
    await begin(session)
    page = await open_page(session)
    await page.locator("summary", has_text="Stop").click()
    await page.get_by_role("button", name="Stop the session").click()
    await expect(shown(page, "state")).to_contain_text("stopped")
    status = await in_thread(lambda: Session.objects.get(pk=session.pk).status)
    assert status == "stopped"


async def test_an_error_in_a_deep_node_is_seen_from_the_root(session: Session, open_page: OpenPage) -> None:
    await begin(session)
    page = await open_page(session)
    await commit(
        session,
        NodeStarted(node=1, parent=0, depth=1, prompt="below", model="m"),
        CellStarted(node=1, step=1, cell=1, code="1/0"),
        CellFinished(node=1, step=1, cell=1, status="error", error=ErrorInfo("ZeroDivisionError", "division by zero")),
    )
    await expect(page.locator(".row:visible").first.locator(".row-errors")).to_have_text("1")
    await expect(shown(page, "errors")).to_have_text("1")
    await page.keyboard.press("]")
    await expect(page.locator(".row.selected")).to_contain_text("below")
    await expect(page.locator(".detail")).to_contain_text("division by zero")


async def test_a_page_whose_reader_left_the_team_ends(session: Session, user: Any, open_page: OpenPage) -> None:
    await begin(session)
    page = await open_page(session)
    await expect(page.locator(".row:visible")).to_have_count(1)
    await in_thread(lambda: Membership.objects.filter(user=user).delete())
    await expect(shown(page, "connection")).to_contain_text("may not see it any more", timeout=30_000)
