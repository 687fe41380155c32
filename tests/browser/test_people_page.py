"""People in the browser: an invitation whose code no server log sees, an account, two kinds of second factor."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.async_api import Browser, Page, expect

from rlmweb.teams.invitations import invite
from rlmweb.teams.models import Membership, Organisation, Role, Team
from runs.stream.database import in_thread
from tests.browser.conftest import PATIENCE_MS, OpenPage
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session, make_user
from tests.live import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]
PASSWORD = "a-long-password-7"
LONG = "a-name-without-a-place-to-break-" * 6


@pytest.fixture
def anybody(browser: Browser, site: Site) -> Any:
    """`async with anybody() as page`: a window of somebody who is not signed in. Passkeys need a name, not a number."""
    return lambda: _Window(browser, site.address.replace("127.0.0.1", "localhost"))


class _Window:
    def __init__(self, browser: Browser, address: str) -> None:
        self.browser, self.address = browser, address

    async def __aenter__(self) -> Page:
        self.context = await self.browser.new_context(base_url=self.address, viewport={"width": 1280, "height": 800})
        self.context.set_default_timeout(PATIENCE_MS)
        return await self.context.new_page()

    async def __aexit__(self, *_: object) -> None:
        await self.context.close()


def _code(team: Team, user: Any) -> str:
    return invite(user, team.organisation, team, "new@example.org", Role.RESEARCHER)[1]


async def test_somebody_joins_by_an_address_whose_code_stays_in_the_browser(
    team: Team, user: Any, anybody: Any
) -> None:
    code = await in_thread(_code, team, user)
    async with anybody() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"/join/#{code}")
        await expect(page.get_by_text(f"invites you to {team.name}")).to_be_visible()
        assert code not in page.url
        assert [url for url in asked if code in url.partition("#")[0]] == []
        await picture(page, "people-join")
        await page.get_by_role("link", name="Make an account").click()
        name = f"new-{team.pk}"
        await page.locator("#id_username").fill(name)
        await page.locator("#id_email").fill("new@example.org")
        await page.locator("#id_password1").fill(PASSWORD)
        await page.locator("#id_password2").fill(PASSWORD)
        await picture(page, "people-account")
        await page.locator("#id_password2").press("Enter")
        await page.get_by_role("button", name=f"Join as {name}").click()
        await expect(page.get_by_text(f"Welcome to {team.name}")).to_be_visible()
    held = await in_thread(lambda: Membership.objects.get(user__username=name))
    assert held.role == Role.RESEARCHER


async def test_an_authenticator_app_and_a_passkey_are_set_up_and_used(team: Team, anybody: Any) -> None:
    person = await in_thread(_with_password, team)
    async with anybody() as page:
        await _sign_in(page, person.username)
        await page.goto("/accounts/2fa/")
        await picture(page, "people-factors")
        await page.get_by_role("link", name="Activate").click()
        if await page.locator("#id_password").count():
            await page.locator("#id_password").fill(PASSWORD)
            await page.locator("#id_password").press("Enter")
        secret = await page.locator("#authenticator_secret").input_value()
        await picture(page, "people-totp")
        await page.locator("#id_code").fill(_totp(secret))
        await page.locator("#id_code").press("Enter")
        await expect(page.get_by_role("heading", name="Recovery Codes")).to_be_visible()
        stored = await in_thread(lambda: str(Authenticator.objects.get(user=person, type="totp").data))
        assert secret not in stored
        await _virtual_key(page)
        await page.goto("/accounts/2fa/webauthn/add/")
        await page.locator("#id_passwordless").check()
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("heading", name="Security Keys")).to_be_visible()
        await picture(page, "people-keys")
        assert await in_thread(lambda: Authenticator.objects.filter(user=person, type="webauthn").count()) == 1
        await page.context.clear_cookies()
        await page.goto("/accounts/login/")
        await picture(page, "people-sign-in")
        await page.get_by_role("button", name="Use a passkey").click()
        await expect(page.locator(".who")).to_have_text(person.username)
        await page.goto("/people/")
        await expect(page.get_by_role("heading", name="People of")).to_be_visible()


async def test_the_page_of_people_with_long_names_narrow_and_light(
    team: Team, user: Any, site: Site, open_page: OpenPage
) -> None:
    await in_thread(_crowd, team)
    page = await open_page(await in_thread(make_session, team))
    await page.get_by_role("link", name="People").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="People of")).to_be_visible()
    await picture(page, "people")
    await no_sideways_scroll(page)
    await page.locator("#id_email").fill("ada@example.org")
    await page.locator("#id_email").press("Enter")
    await expect(page.get_by_text("is shown this once")).to_be_visible()
    await picture(page, "people-invited")
    narrow = await open_page(
        await in_thread(make_session, team), viewport={"width": 420, "height": 900}, color_scheme="light"
    )
    await narrow.goto(f"{site.address}/people/")
    await picture(narrow, "people-narrow-light")
    await no_sideways_scroll(narrow)


def _with_password(team: Team) -> Any:
    """Hashed as the site does it: tests hash quicker."""
    person = make_user(team, Role.LEAD)
    person.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt")
    person.save()
    return person


def _crowd(team: Team) -> None:
    Organisation.objects.filter(pk=team.organisation_id).update(name=LONG)
    for number, role in enumerate([Role.VIEWER, Role.RESEARCHER, Role.AUDITOR, Role.OWNER]):
        make_user(team, role, username=f"{LONG[:120]}{number}", email=f"{'x' * 60}{number}@example.org")


async def _sign_in(page: Page, name: str) -> None:
    await page.goto("/accounts/login/")
    await page.locator("#id_login").fill(name)
    await page.locator("#id_password").fill(PASSWORD)
    await page.locator("#id_password").press("Enter")
    await expect(page.locator(".who")).to_have_text(name)


async def _virtual_key(page: Page) -> None:
    """A security key that Chromium plays."""
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def _totp(secret: str) -> str:
    """What an authenticator app shows now (RFC 6238)."""
    return str(format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time())))))
