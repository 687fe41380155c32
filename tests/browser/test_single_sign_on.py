"""Signing in at the organisation's identity provider, in a browser that holds to the pages' policy."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from playwright.async_api import Browser, Page, expect

from rlmweb.teams.models import Role, Team
from runs.stream.database import in_thread
from tests.browser.conftest import PATIENCE_MS
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_user
from tests.live import Site, running_site
from tests.wire.identity import CLIENT, SECRET, IdentityProvider
from tests.wire.serving import serve_asgi

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def identity() -> Iterator[IdentityProvider]:
    found = IdentityProvider()
    with serve_asgi(found.app) as address:
        found.issuer = address
        yield found


@pytest.fixture(scope="module")
def signing(identity: IdentityProvider, django_db_setup: None) -> Iterator[Site]:
    """A site with the identity provider in its settings, as an operator would enter it."""
    environment = {
        "RLMWEB_OIDC_URL": identity.issuer,
        "RLMWEB_OIDC_CLIENT_ID": CLIENT,
        "RLMWEB_OIDC_SECRET": SECRET,
        "RLMWEB_OIDC_NAME": "Sign in with the lab",
        "RLMWEB_SINGLE_USER": "false",
    }
    with tempfile.TemporaryDirectory(prefix="rlmweb-sso-") as folder, running_site(Path(folder), **environment) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, signing: Site, identity: IdentityProvider) -> AsyncIterator[Page]:
    identity.wrong, identity.person = "", None
    identity.asked.clear()
    context = await browser.new_context(base_url=signing.address, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    yield await context.new_page()
    await context.close()


def person(**claims: Any) -> dict[str, Any]:
    word = uuid4().hex[:8]
    return {
        "sub": f"sub-{word}", "preferred_username": f"grace-{word}", "email": f"grace-{word}@example.org", **claims
    }  # fmt: skip


async def sign_in(page: Page, path: str = "/login/") -> None:
    await page.goto(path)
    await page.get_by_role("button", name="Sign in with the lab").click()


async def test_whoever_the_provider_knows_is_signed_in_and_sees_nothing_yet(
    page: Page, identity: IdentityProvider
) -> None:
    identity.person = person()
    await page.goto("/login/")
    await picture(page, "single-sign-on")
    await no_sideways_scroll(page)
    await sign_in(page)
    await expect(page.get_by_text(identity.person["preferred_username"]).first).to_be_visible()
    asked = identity.asked[-1]
    assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (CLIENT, "code", "S256")
    assert "openid" in asked["scope"].split()
    await expect(page.get_by_text("Your account has no role here yet.")).to_be_visible()
    await picture(page, "single-sign-on-done")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    found = await in_thread(lambda: get_user_model().objects.get(username=asked_for(identity)))
    assert not await in_thread(lambda: found.memberships.exists() or found.organisation_roles.exists())
    assert not found.has_usable_password()


def asked_for(identity: IdentityProvider) -> str:
    assert identity.person is not None
    return str(identity.person["preferred_username"])


async def test_the_second_time_it_is_the_same_account(page: Page, identity: IdentityProvider) -> None:
    identity.person = person()
    for _ in range(2):
        await page.context.clear_cookies()
        await sign_in(page)
        await expect(page.get_by_text(asked_for(identity)).first).to_be_visible()
    found = get_user_model().objects.filter(username=asked_for(identity))
    count = await in_thread(found.count)
    assert count == 1


async def test_an_address_that_somebody_has_here_opens_no_account_of_theirs(
    page: Page, identity: IdentityProvider, team: Team
) -> None:
    """Whoever runs the provider, or whoever could enter an address there, would be them."""
    owner = await in_thread(lambda: make_user(team, Role.OWNER, email=f"owner-{uuid4().hex[:8]}@example.org"))
    identity.person = person(preferred_username=owner.username, email=owner.email, email_verified=True)
    await sign_in(page)
    await page.wait_for_url("**/3rdparty/signup/**")
    await expect(page.get_by_role("heading", name="A new account")).to_be_visible()
    assert identity.asked
    await picture(page, "single-sign-on-taken")
    await page.goto("/")
    header = await page.locator("header").inner_text()
    assert owner.username not in header.split()


@pytest.mark.parametrize("wrong", ["expired", "audience", "issuer"])
async def test_a_token_that_is_not_for_us_signs_nobody_in(page: Page, identity: IdentityProvider, wrong: str) -> None:
    identity.person, identity.wrong = person(), wrong
    await sign_in(page)
    await page.wait_for_url("**/callback/**")
    assert identity.asked
    assert not await in_thread(lambda: get_user_model().objects.filter(username=asked_for(identity)).exists())
    await picture(page, f"single-sign-on-{wrong}")


async def test_a_refusal_is_said(page: Page, identity: IdentityProvider) -> None:
    await sign_in(page)
    await page.wait_for_url("**/cancelled/")
    assert identity.asked
    await picture(page, "single-sign-on-refused")
    await no_sideways_scroll(page)
    await page.goto("/")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_an_answer_that_nobody_asked_for_signs_nobody_in(page: Page, signing: Site) -> None:
    await page.goto("/accounts/oidc/sso/login/callback/?code=stolen&state=made-up")
    await page.goto("/")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
