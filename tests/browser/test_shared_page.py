"""A link in the browser: made with two clicks, opened by a stranger, drawn redacted, ended while it is looked at."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from rlmweb.teams.models import Team
from runs.access import Actor
from runs.models import Share
from runs.shares.sharing import Wanted, revoke, share_session
from runs.stream.database import in_thread
from tests.browser.conftest import PATIENCE_MS, OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.live import Site
from tests.recorded import make_recorded_session
from tests.trajectories import grown, hostile, tour

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


class Stranger:
    """Somebody without an account. `asked`: every address that the browser asked for."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.asked: list[str] = []
        self.problems: list[str] = []

    async def __aenter__(self) -> Page:
        self.context = await self.browser.new_context(viewport={"width": 1280, "height": 800})
        self.context.set_default_timeout(PATIENCE_MS)
        page = await self.context.new_page()
        page.on("request", lambda request: self.asked.append(request.url + str(request.headers.get("referer", ""))))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}"))
        return page

    async def __aexit__(self, *_: object) -> None:
        await self.context.close()
        assert self.problems == []


def _shared(user: Any, session: Any, **fields: Any) -> tuple[Share, str]:
    return share_session(Actor(user, "web"), session, Wanted(**{"audience": "public", **fields}))


async def test_a_link_for_the_team_is_two_clicks(team: Team, open_page: OpenPage) -> None:
    session = await in_thread(make_recorded_session, tour(), team)
    page = await open_page(session)
    await page.get_by_text("Share…").click()
    await page.get_by_role("button", name="Make the link").click()
    await picture(page, "shares")
    address = await page.locator("#address").inner_text()
    await no_sideways_scroll(page)
    await page.goto(address)
    await expect(page.locator(".tree [role=treeitem]").first).to_be_visible()
    await expect(page.locator("h1")).to_contain_text("Parser")
    await picture(page, "shared-team")


async def test_a_stranger_sees_structure_and_figures_and_no_word(
    team: Team, user: Any, site: Site, browser: Browser
) -> None:
    session = await in_thread(make_recorded_session, tour(), team)
    share, token = await in_thread(_shared, user, session)
    stranger = Stranger(browser)
    async with stranger as page:
        await page.goto(f"{site.address}/shared/{share.public_id}/#{token}")
        await expect(page.locator(".tree [role=treeitem]").first).to_be_visible()
        assert token not in page.url
        await picture(page, "shared-strict")
        await no_sideways_scroll(page)
        await expect(page.locator("h1")).to_contain_text("[hidden")
        assert session.question not in await page.content()
        await expect(page.get_by_text("Fork from here")).to_be_hidden()
    assert [address for address in stranger.asked if token in address.partition("#")[0]] == []
    assert {address.split("/")[2] for address in stranger.asked if address.startswith("http")} == {
        site.address.split("/")[2]
    }


async def test_a_wrong_link_and_a_password_say_what_to_do(
    team: Team, user: Any, site: Site, browser: Browser, settings: Any
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # as the site has it
    session = await in_thread(make_recorded_session, tour(), team)
    share, token = await in_thread(_shared, user, session, audience="password", password="correct horse")
    async with Stranger(browser) as page:
        await page.goto(f"{site.address}/shared/{share.public_id}/#{token}")
        await expect(page.get_by_role("alert")).to_contain_text("needs its password")
        await picture(page, "shared-password")
        await page.keyboard.type("correct horse")
        await page.keyboard.press("Enter")
        await expect(page.locator(".tree [role=treeitem]").first).to_be_visible()


async def test_hostile_texts_behind_a_link_do_nothing(team: Team, user: Any, site: Site, browser: Browser) -> None:
    session = await in_thread(make_recorded_session, hostile(), team)
    share, token = await in_thread(_shared, user, session, redaction="masked")
    stranger = Stranger(browser)
    async with stranger as page:
        await page.goto(f"{site.address}/shared/{share.public_id}/#{token}")
        await expect(page.locator(".tree [role=treeitem]").first).to_be_visible()
        await picture(page, "shared-hostile")
    assert {address.split("/")[2] for address in stranger.asked if address.startswith("http")} == {
        site.address.split("/")[2]
    }


async def test_a_live_link_ends_while_it_is_looked_at(team: Team, user: Any, site: Site, browser: Browser) -> None:
    session = await in_thread(make_recorded_session, grown(1000), team)
    share, token = await in_thread(_shared, user, session, frozen=False)
    async with Stranger(browser) as page:
        await page.goto(f"{site.address}/shared/{share.public_id}/#{token}")
        await expect(page.locator(".tree [role=treeitem]").first).to_be_visible()
        await picture(page, "shared-1000")
        await in_thread(revoke, Actor(user, "web"), Share.objects.filter(pk=share.pk))
        await expect(page.locator(".connection")).to_contain_text("you may not see it any more")
        await page.reload()
        await expect(page.get_by_role("heading", name="Open a shared run")).to_be_visible()
