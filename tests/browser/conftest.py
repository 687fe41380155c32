"""A real Daphne, a real Chromium, and pages that fail the test when the console does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, WebSocket, async_playwright

from rlmweb.teams.models import Role, Team
from runs.stream.database import in_thread
from tests.factories import make_team, make_user
from tests.live import Site, chromium, running_site

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Two pages of one test are both worked on, whichever is in front.
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
]
PATIENCE_MS = 15_000

OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
def site(django_db_setup: None) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="rlmweb-site-") as folder, running_site(Path(folder)) as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield launched
        await launched.close()


@pytest.fixture
def team(transactional_db: None) -> Team:
    return make_team()


@pytest.fixture
def user(team: Team) -> Any:
    return make_user(team, Role.LEAD, username=f"ada-{os.urandom(4).hex()}")


@pytest.fixture
def websockets() -> list[WebSocket]:
    """Every websocket that the test's pages opened."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(site: Site, browser: Browser, user: Any, websockets: list[WebSocket]) -> AsyncIterator[OpenPage]:
    """`await open_page(session, "#seq=3", color_scheme="light")`: a signed-in page in a window of its own."""
    problems: list[str] = []
    contexts: list[BrowserContext] = []
    cookie = await in_thread(site.cookie, user)

    async def open_one(session: Any, hash_: str = "", **options: Any) -> Page:
        context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        await context.add_cookies([cookie])  # type: ignore[list-item]
        page = await context.new_page()
        page.on("console", lambda message: problems.extend(_problem(message)))
        page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
        page.on("websocket", lambda socket: websockets.append(socket))
        await page.goto(f"{site.address}/sessions/{session.uuid}/{hash_}")
        return page

    yield open_one
    for context in contexts:
        await context.close()
    assert problems == []


def _problem(message: ConsoleMessage) -> list[str]:
    """Errors and warnings, the policy's refusals among them. A connection that a test cuts is not one, nor is a form
    that the server sends back with what is wrong in it, nor the poll of quotas that is on its way when a right ends."""
    fine = ("WebSocket connection to", "ERR_CONNECTION_REFUSED", "responded with a status of 422")
    ended = "status of 404" in message.text and message.location["url"].endswith("/quotas/")
    expected = ended or any(words in message.text for words in fine)
    return [f"console: {message.text}"] if message.type in ("error", "warning") and not expected else []
