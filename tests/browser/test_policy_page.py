"""The policy in the browser: a profile chosen, previewed and set; and a live page whose reader does nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as Login
from playwright.async_api import expect

from rlmweb.teams.models import OrganisationMembership, OrganisationPolicy, Role, Team
from rlmweb.teams.policies.idling import ACTIVE_AT
from runs.models import Session
from runs.services.config import config_to_plain
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.browser.test_live_page import shown
from tests.browser.test_replay_pages import no_sideways_scroll, picture
from tests.factories import make_session, scripted_config
from tests.live import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]


async def test_a_profile_is_chosen_previewed_and_set(team: Team, user: Any, site: Site, open_page: OpenPage) -> None:
    await in_thread(
        lambda: OrganisationMembership.objects.create(organisation=team.organisation, user=user, role=Role.OWNER)
    )
    session = await in_thread(lambda: make_session(team, config=config_to_plain(scripted_config())))
    page = await open_page(session)
    await page.goto(f"{site.address}/people/{team.organisation.slug}/policy/")
    await expect(page.get_by_text("open, version 0")).to_be_visible()
    await page.get_by_role("link", name="hipaa", exact=True).click()
    await page.get_by_label("Second factor").select_option("no")
    await page.get_by_label("Model endpoints").fill("models.example.org keeps-nothing")
    await page.get_by_role("button", name="Preview").click()
    await expect(page.get_by_text("1 running session would be refused.")).to_be_visible()
    await picture(page, "policy-preview")
    await no_sideways_scroll(page)
    await page.get_by_role("button", name="Set this policy").click()
    await expect(page.get_by_role("heading", name="hipaa, version 1")).to_be_visible()
    await expect(page.get_by_text("models.example.org (keeps nothing)").first).to_be_visible()
    await picture(page, "policy")
    await no_sideways_scroll(page)
    document = await in_thread(lambda: OrganisationPolicy.objects.get().document)
    assert set(document) == {"second_factor", "model_hosts"}


async def test_the_page_of_somebody_who_does_nothing_says_that_the_sign_in_ended(
    team: Team, user: Any, open_page: OpenPage
) -> None:
    await in_thread(
        lambda: OrganisationPolicy.objects.create(
            organisation=team.organisation, version=1, profile="open", document={"idle_minutes": 5}
        )
    )
    # Of a session that is over the page asks for nothing by itself, so that only the websocket can say it.
    page = await open_page(await in_thread(lambda: make_session(team, status=Session.Status.FINISHED)))
    await expect(page.locator("body")).to_be_visible()

    def turn_back() -> None:
        for row in Login.objects.all():
            store = SessionStore(row.session_key)
            store[ACTIVE_AT] = time.time() - 301
            store.save()

    await in_thread(turn_back)
    await expect(shown(page, "connection")).to_contain_text("Your sign-in has ended", timeout=30_000)
    await picture(page, "policy-idle")
