"""A session leaves by the menu of its page and comes in by the form, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from rlmweb.teams.models import Team
from runs.models import Session
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture, work_off_jobs
from tests.browser.test_snapshot_page import ran

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


async def test_a_session_is_downloaded_and_imported(team: Team, open_page: OpenPage, tmp_path: Path) -> None:
    session: Session = await in_thread(ran, team)
    page = await open_page(session)
    await page.get_by_text("Export…").click()
    await picture(page, "export")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download").click()
    path = tmp_path / "session.rlmweb.tar"
    await (await download.value).save_as(path)
    await page.goto(f"{page.url.split('/sessions/')[0]}/sessions/import/")
    await picture(page, "import")
    await no_sideways_scroll(page)
    await page.locator("#id_file").set_input_files(path)
    await page.get_by_role("button", name="Import").click()
    await expect(page.locator("#import")).to_contain_text("Waiting for a worker")
    await in_thread(work_off_jobs)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Imported")
    await picture(page, "imported")
    await no_sideways_scroll(page)
    await page.get_by_role("link", name="Open the session").click()
    await expect(page.locator(".forked")).to_contain_text(str(session.uuid))
    await picture(page, "imported-session")
