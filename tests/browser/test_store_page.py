"""What is kept, in the browser: the store's page looks by itself, a session is pinned and deleted by keyboard alone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from rlmweb.teams.models import Team
from runs.models import Session, StoreRun
from runs.store.report import Amount, Report, report_to_plain
from runs.store.running import do_run
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session
from tests.live import Site
from tests.snapshotted import make_node, make_snapshot, variable

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
LONG = "a-title-without-a-place-to-break-" * 6


def finished(team: Team, **fields: Any) -> Session:
    session = make_session(team, status=Session.Status.FINISHED, **fields)
    node = make_node(session, steps=2)
    for step in (1, 2):
        make_snapshot(node, step, [variable("x", step)])
    return session


def promote(user: Any) -> None:
    user.is_staff = True
    user.save()


def do_asked_runs() -> None:
    """As a worker would; dry ones only, since other tests share the store."""
    for run in StoreRun.objects.filter(status=StoreRun.Status.READY, dry_run=True):
        do_run(run.uuid)


def note_collections() -> None:
    report = Report(
        snapshots=12_345,
        sessions=321,
        freed=Amount(98_765, 12_345_678_901),
        used=Amount(1_234_567, 987_654_321_000),
        young=Amount(3, 4_000),
        context_copies=Amount(2, 50_000_000),
        problems=["0" * 36 + ": the snapshot cannot be read " + "x" * 200],
    )
    fields: dict[str, Any] = {"policy": {}, "status": "finished", "report": report_to_plain(report)}
    StoreRun.objects.create(dry_run=False, asked_by="system", source="worker", **fields)
    StoreRun.objects.update(finished_at=StoreRun.objects.get().created_at)


async def to_store(page: Page, site: Site) -> None:
    await page.goto(f"{site.address}/status/")
    await page.get_by_role("link", name="Store").click()
    await expect(page.get_by_role("heading", name="Store", exact=True)).to_be_visible()


async def test_the_staff_looks_what_would_go(team: Team, user: Any, site: Site, open_page: OpenPage) -> None:
    await in_thread(promote, user)
    session = await in_thread(finished, team)
    page = await open_page(session)
    await to_store(page, site)
    await expect(page.get_by_text("Nobody has looked yet")).to_be_visible()
    await picture(page, "store-empty")
    look = page.get_by_role("button", name="Look what would go")
    await look.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("A worker looks through the store")).to_be_visible()
    await in_thread(do_asked_runs)
    await expect(page.get_by_text("would go now")).to_be_visible()
    await expect(page.get_by_role("button", name="Look again")).to_be_enabled()
    await expect(page.locator("[data-refresh-ms]")).to_have_count(0)


async def test_large_numbers_fit(team: Team, user: Any, site: Site, open_page: OpenPage) -> None:
    await in_thread(promote, user)
    await in_thread(note_collections)
    session = await in_thread(finished, team)
    page = await open_page(session)
    await to_store(page, site)
    await expect(page.get_by_text("12.4 GB")).to_be_visible()
    await page.get_by_text("1 session left alone").click()
    await picture(page, "store")
    await no_sideways_scroll(page)


async def test_a_session_is_pinned_and_deleted_by_keyboard(
    team: Team, user: Any, site: Site, open_page: OpenPage
) -> None:
    session = await in_thread(finished, team, title=LONG)
    page = await open_page(session)
    menu = page.locator("summary", has_text="Keep or delete…")
    await menu.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Pin the session")).to_be_visible()
    await picture(page, "keep-menu")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator(".run-title .chip", has_text="pinned")).to_be_visible()
    await page.goto(f"{site.address}/")
    await expect(page.locator(".row .chip", has_text="pinned")).to_be_visible()
    await picture(page, "pinned-list")
    await page.goto(f"{site.address}/sessions/{session.uuid}/delete/")
    await expect(page.get_by_role("alert")).to_contain_text("Unpin it first")
    await picture(page, "delete-refused")
    await page.get_by_role("link", name="Back to the session").click()
    await menu.click()
    await page.get_by_role("button", name="Unpin the session").click()
    await menu.click()
    await page.get_by_role("link", name="Delete…").click()
    await expect(page.get_by_role("heading", name="Delete this session?")).to_be_visible()
    await no_sideways_scroll(page)
    await picture(page, "delete")
    await page.get_by_role("button", name="Delete the session").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("is deleted.")).to_be_visible()
    assert not await in_thread(Session.objects.filter(pk=session.pk).exists)


async def test_a_snapshot_is_pinned_on_its_page(team: Team, site: Site, open_page: OpenPage) -> None:
    session = await in_thread(finished, team)
    page = await open_page(session)
    await page.goto(f"{site.address}/sessions/{session.uuid}/nodes/0/steps/1/snapshot/")
    await page.get_by_role("button", name="Pin", exact=True).click()
    await expect(page.get_by_role("button", name="Unpin")).to_be_visible()
    await expect(page.locator(".snapshot-facts")).to_contain_text("pinned")
    await picture(page, "snapshot-pinned")
