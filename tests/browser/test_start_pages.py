"""The start form and the list of sessions in a browser: uploads, pastes, previews, live rows."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from rlmweb.teams.models import Team
from runs.models import Context, Session
from runs.stream.database import in_thread
from tests.browser.conftest import OpenPage
from tests.factories import make_session
from tests.live import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.django_db(transaction=True)]

LINE = "one line of a long text\n"
NINE_MB = LINE * (9_000_000 // len(LINE))
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


async def start_page(open_page: OpenPage, site: Site, team: Team, source: str = "Upload") -> Page:
    page = await open_page(await in_thread(make_session, team, status="finished"))
    await page.goto(f"{site.address}/sessions/new/")
    await page.locator(".tabs").get_by_text(source, exact=True).click()
    return page


async def choose(page: Page, name: str, text: str) -> None:
    file: Any = {"name": name, "mimeType": "text/plain", "buffer": text.encode()}
    await page.set_input_files("#id_file", file)


async def newest(model: Any) -> Any:
    return await in_thread(lambda: model.objects.order_by("-pk").first())


async def test_a_file_is_uploaded_shown_and_started_on(team: Team, open_page: OpenPage, site: Site) -> None:
    page = await start_page(open_page, site, team)
    await choose(page, "long.txt", NINE_MB)
    await expect(page.locator("figure.preview")).to_contain_text("long.txt Text 9.0 MB")
    await page.fill("#id_question", "How many lines?")
    await page.select_option("#id_root", "scripted:tour")
    await page.click("#start-button")
    await page.wait_for_url("**/sessions/*-*/")
    session: Session = await newest(Session)
    context: Context = await newest(Context)
    assert session.context_id == context.pk
    assert (context.size_bytes, context.source, session.question) == (len(NINE_MB), "upload", "How many lines?")


async def test_an_upload_that_breaks_goes_on_where_it_stood(browser: Browser, user: Any, site: Site) -> None:
    context = await browser.new_context()  # a window of its own: its console may complain of what is broken here
    cookie: Any = await in_thread(site.cookie, user)
    await context.add_cookies([cookie])
    page = await context.new_page()
    await page.goto(f"{site.address}/sessions/new/")
    await page.locator(".tabs").get_by_text("Upload", exact=True).click()
    offsets: list[str] = []

    async def lose_the_second_part_once(route: Route) -> None:
        offsets.append(route.request.headers["upload-offset"])
        if len(offsets) == 2:
            # It arrives, and its answer is lost: the browser has to learn from the server where to go on.
            await route.fetch()
            await route.fulfill(status=503, json={"message": "away"})
        else:
            await route.continue_()

    await page.route("**/contexts/uploads/part/", lose_the_second_part_once)
    await choose(page, "long.txt", NINE_MB)
    await expect(page.locator("figure.preview")).to_contain_text("9.0 MB")
    assert (await newest(Context)).size_bytes == len(NINE_MB)
    assert offsets[1] == offsets[2]
    await context.close()


async def test_a_long_paste_goes_like_a_file(team: Team, open_page: OpenPage, site: Site) -> None:
    page = await start_page(open_page, site, team, "Paste")
    await page.fill("#id_question", "How many lines?")
    await page.select_option("#id_root", "scripted:tour")
    await page.locator("#id_text").evaluate("(area, text) => { area.value = text; }", LINE * 60_000)
    await page.click("#start-button")
    await page.wait_for_url("**/sessions/*-*/")
    context: Context = await newest(Context)
    assert (context.name, context.size_bytes) == ("pasted.txt", len(LINE) * 60_000)


async def test_a_hostile_file_is_only_text_in_its_preview(team: Team, open_page: OpenPage, site: Site) -> None:
    page = await start_page(open_page, site, team)
    await choose(page, HOSTILE.replace("/", ""), HOSTILE)
    await expect(page.locator("figure.preview pre")).to_have_text(HOSTILE)
    assert await page.locator("figure.preview img, figure.preview script").count() == 0
    assert await page.title() == "New session · rlmweb"


async def test_the_chosen_context_belongs_to_its_tab(team: Team, open_page: OpenPage, site: Site) -> None:
    page = await start_page(open_page, site, team)
    await choose(page, "notes.txt", "words")
    await expect(page.locator("figure.preview")).to_be_visible()
    await page.locator(".tabs").get_by_text("Paste", exact=True).click()
    await expect(page.locator("figure.preview")).to_be_hidden()
    await page.locator(".tabs").get_by_text("Upload", exact=True).click()
    await expect(page.locator("figure.preview")).to_be_visible()


async def test_an_example_is_shown_before_it_starts(team: Team, open_page: OpenPage, site: Site) -> None:
    page = await start_page(open_page, site, team, "Example")
    await page.locator("input[value=s-niah]").check()
    await page.select_option("#id_example_size", "10000")
    await page.get_by_text("Show question and text").click()
    await expect(page.locator(".example-built")).to_contain_text("10.0 KB")
    await page.locator("input[value=csv]").check()
    await expect(page.locator(".example-built")).to_have_count(0)


async def test_the_list_follows_what_happens(team: Team, open_page: OpenPage, site: Site) -> None:
    session = await in_thread(make_session, team, title="A running one")
    page = await open_page(session)
    await page.goto(f"{site.address}/")
    await expect(page.locator(".row")).to_contain_text("working")
    await in_thread(Session.objects.filter(pk=session.pk).update, status="finished", answer="Forty-two")
    await expect(page.locator(".row")).to_contain_text("Forty-two")
    await expect(page.locator(".row .status")).to_have_attribute("title", "Finished")
