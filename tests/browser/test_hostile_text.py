"""Hostile text in every field, on every page, in a real Chromium under the policy that users get: nothing of it runs,
nothing is asked of another origin, and nothing of it is taken for markup.

Pages come from the URL configuration, so a new one is opened here by itself; what is no page stands in `NO_PAGE`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from playwright.async_api import Browser, BrowserContext, Page, Route

from runs.models import Session
from runs.stream.database import in_thread
from tests.browser.conftest import PATIENCE_MS
from tests.factories import make_user
from tests.hostile import MARK
from tests.hostile_world import make_hostile_world
from tests.live import Site, running_site
from tests.worlds import World, routes

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]

ROLES = ("lead", "owner", "operator", "anonymous")
"""Who opens a page: the first of them that gets in."""
NO_PAGE = {
    "healthz": "says whether processes run, and nothing of anybody",
    "open": "needs the token of a single-user installation",
    "login": "leads to the page of the library that signs people in",
    "how_to_open": "only in a single-user installation, and shows nothing of anybody",
    "audit:export": "a download",
    "sandboxes:catalogue_export": "a download",
    "leave_for_provider": "only with an identity provider: tests/browser/test_single_sign_on.py opens it",
    "runs:first": "leads to another page",
    "runs:overview_first": "leads to another page",
    "runs:overview_file": "a download",
    "teams:people_first": "leads to another page",
}
"""Routes that answer GET without a page that shows anything."""
WATCH = f"""
window.reports = [];
document.addEventListener('securitypolicyviolation', (event) => window.reports.push(event.violatedDirective));
window.hostile = () => {{
  const found = [...window.reports.map((name) => `policy: ${{name}}`)];
  if (window.owned !== undefined) found.push('script ran');
  if (document.title === 'owned') found.push('the title was set');
  for (const element of document.querySelectorAll('[{MARK}]')) found.push(`markup: ${{element.outerHTML.slice(0, 120)}}`);
  for (const element of document.querySelectorAll('*')) {{
    for (const {{ name, value }} of element.attributes) {{
      const address = ['href', 'src', 'action', 'formaction', 'xlink:href', 'srcdoc', 'data', 'poster'].includes(name);
      if (name.startsWith('on') || name.startsWith('hx-on')) found.push(`handler: ${{name}}`);
      if (address && /^\\s*(javascript|vbscript):/i.test(value)) found.push(`address: ${{value.slice(0, 80)}}`);
      if (address && /^\\s*data:(?!image\\/)/i.test(value)) found.push(`address: ${{value.slice(0, 80)}}`);
      if (name.startsWith('hx-') && /outside\\.example|javascript:/.test(value) && !['hx-vals', 'hx-confirm'].includes(name))
        found.push(`htmx: ${{name}}=${{value.slice(0, 80)}}`);
    }}
  }}
  return [...new Set(found)];
}};
"""
OPEN_ALL = """() => { for (const each of document.querySelectorAll('details')) each.open = true; }"""


@pytest.fixture
def hostile_site(settings: Any, tmp_path: Path, transactional_db: None) -> Iterator[tuple[Site, World]]:
    """A server that shares the test's key at rest, without which nothing sealed can be read."""
    settings.SECRET_KEYS_AT_REST = (Fernet.generate_key().decode(),)
    world, _ = make_hostile_world()
    world.people["operator"] = make_user(is_superuser=True, is_staff=True)
    with running_site(tmp_path) as site:
        yield site, world


def pages_of(world: World) -> dict[str, tuple[str, str]]:
    """name -> address and who opens it: every route that answers GET with HTML."""
    clients = {role: Client() if role == "anonymous" else world.client(role) for role in ROLES}
    found, unseen = {}, []
    other = Session.objects.filter(team=world.team).exclude(pk=world.session.pk).get().uuid
    for route in routes():
        if route.path.startswith("api/") or route.name in NO_PAGE:
            continue
        address = world.address(route) + (f"?a={other}&b={world.session.uuid}" if route.name == "runs:compare" else "")
        answers = {}
        for role in ROLES:
            answers[role] = clients[role].get(address, HTTP_ACCEPT="text/html")
            if answers[role].status_code == 200:
                break
        role, answer = list(answers.items())[-1]
        if any(each.status_code == 405 for each in answers.values()):  # before anybody is asked who they are
            continue
        if answer.status_code != 200:
            unseen.append(f"{route.name}: {[each.status_code for each in answers.values()]}")
        elif answer["Content-Type"].startswith("text/html"):
            found[route.name] = (address, role)
    assert not unseen, "give a row in tests/worlds.py, or a reason in NO_PAGE: " + "; ".join(unseen)
    return found


async def look_at(context: BrowserContext, site: Site, name: str, address: str) -> list[str]:
    """What went wrong on one page, after all that it folds away has been unfolded."""
    page: Page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on(
        "console",
        lambda message: wrong.append(f"console: {message.text}") if "Content Security" in message.text else None,
    )
    answer = await page.goto(f"{site.address}{address}", wait_until="load")
    if answer is None or answer.status != 200:
        wrong.append(f"answered {answer and answer.status}")
    else:
        await page.wait_for_load_state("domcontentloaded")
        await page.evaluate(OPEN_ALL)
        if name == "runs:session" or name == "runs:shared":
            await page.locator(".row").first.wait_for()
        await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        wrong += await page.evaluate("() => window.hostile()")
    await page.close()
    return [f"{name}: {each}" for each in wrong]


async def test_nothing_hostile_acts_on_any_page(hostile_site: tuple[Site, World], browser: Browser) -> None:
    site, world = hostile_site
    pages = await in_thread(pages_of, world)
    outside: list[str] = []

    async def watch(route: Route) -> None:
        if route.request.url.startswith((site.address, "data:")):
            await route.continue_()
        else:
            outside.append(route.request.url)
            await route.abort()

    wrong: list[str] = []
    for role in ROLES:
        context = await browser.new_context()
        context.set_default_timeout(PATIENCE_MS)
        await context.add_init_script(WATCH)
        await context.route("**/*", watch)
        if role != "anonymous":
            cookie = await in_thread(site.cookie, world.people[role])
            await context.add_cookies([cookie])  # type: ignore[list-item]
        for name, (address, opened_by) in pages.items():
            if opened_by == role:
                wrong += await look_at(context, site, name, address)
        await context.close()
    assert outside == []
    assert wrong == [], "\n".join(wrong)
    assert len(pages) > 30
