"""Links: who makes them, what opens them, what they show, and that they end."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import Role
from rlmweb.teams.policies.keeping import set_policy
from runs.access import Actor
from runs.blobs import blob_store
from runs.events.types import CellOutput
from runs.models import Share
from runs.shares.attempts import PER_MINUTE, attempts
from runs.shares.holding import SALT
from runs.shares.sharing import CannotShare, Wanted, revoke, share_session
from tests.cast import SIGNED_IN, Cast
from tests.factories import make_organisation, make_session, make_team, make_user
from tests.recorded import record_events, write_trajectory
from tests.trajectories import grown, tour

pytestmark = pytest.mark.django_db(transaction=True)
MAKES = ("researcher", "mate", "lead")
SECRET_QUESTION = "How many letters?"


@pytest.fixture(autouse=True)
def no_attempts_of_others() -> None:
    attempts._buckets.clear()


@pytest.fixture
def cast() -> Cast:
    organisation = make_organisation()
    team = make_team(organisation)
    people = {role.value: make_user(team, role) for role in Role}
    people |= {"mate": make_user(team), "stranger": make_user(make_team(), Role.LEAD)}
    people |= {"superuser": make_user(is_superuser=True, is_staff=True)}
    people |= {"sibling": make_user(make_team(organisation), Role.VIEWER)}
    session = make_session(team, created_by=people["researcher"])
    write_trajectory(session, tour())
    return Cast(team, session, people)


def made(cast: Cast, audience: str, by: str = "lead", **fields: Any) -> tuple[Share, str]:
    wanted = Wanted(**{"audience": audience, "redaction": "strict", **fields})
    return share_session(Actor(cast.people[by], "web"), cast.session, wanted)


def opened(share: Share, token: str, password: str = "") -> Client:
    client = Client()
    client.post(reverse("runs:shared_open", args=[share.public_id]), {"token": token, "password": password})
    return client


def events(client: Client, share: Share) -> list[dict[str, Any]] | None:
    answer: Any = client.get(reverse("runs:shared_events", args=[share.public_id]))
    if answer.status_code != 200:
        return None
    return [json.loads(line) for line in b"".join(_chunks(answer)).splitlines()]


def _chunks(answer: Any) -> list[bytes]:
    from asgiref.sync import async_to_sync

    async def collected() -> list[bytes]:
        return [chunk async for chunk in answer.streaming_content]

    return async_to_sync(collected)() if answer.is_async else list(answer.streaming_content)


# Making -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SIGNED_IN, "sibling", "anonymous"])
def test_links_are_made_by_those_who_may(cast: Cast, name: str) -> None:
    client, address = cast.client(name), reverse("runs:shares", args=[cast.session.uuid])
    answer = client.post(address, {"audience": "team", "redaction": "everything", "frozen": "live", "days": "7"})
    gone = 302 if name == "anonymous" else 404
    assert answer.status_code == (200 if name in MAKES else gone)
    assert Share.objects.exists() == (name in MAKES)
    public = {"audience": "public", "redaction": "strict", "frozen": "frozen", "days": "7"}
    assert client.post(address, public).status_code == (200 if name == "lead" else 422 if name in MAKES else gone)
    assert Share.objects.filter(audience="public").exists() == (name == "lead")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"audience": "public", "redaction": "everything"}, "without an account"),
        ({"audience": "public", "days": 91}, "1 to 90"),
        ({"audience": "team", "days": 0}, "1 to 90"),
        ({"audience": "password", "password": "short"}, "8 characters"),
        ({"audience": "team", "node": 99}, "no node 99"),
        ({"audience": "world"}, "audience"),
        ({"audience": "team", "max_views": 0}, "one view"),
        ({"audience": "team", "words": ["x" * 201]}, "200 characters"),
    ],
)
def test_what_may_not_be_shared_is_refused_with_the_reason(cast: Cast, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(CannotShare, match=why):
        made(cast, **fields)
    assert not Share.objects.exists()


def test_the_address_is_shown_once_and_the_token_is_nowhere_at_rest(cast: Cast) -> None:
    client, address = cast.client("lead"), reverse("runs:shares", args=[cast.session.uuid])
    form = {"audience": "public", "redaction": "strict", "frozen": "frozen", "days": "7"}
    page = client.post(address, form)
    token = page.context["made"][1].partition("#")[2]
    assert len(token) >= 43
    assert token in page.content.decode()
    assert token not in client.get(address).content.decode()
    assert token not in str(Share.objects.get().__dict__)
    assert not AuditEntry.objects.filter(body__contains=token).exists()


# Opening ------------------------------------------------------------------------------------------------------------


def test_a_token_is_exchanged_for_a_cookie_of_this_link_only(cast: Cast) -> None:
    share, token = made(cast, "public")
    other, _ = made(cast, "public")
    client = Client()
    page = reverse("runs:shared", args=[share.public_id])
    assert "Open a shared run" in client.get(page).content.decode()
    assert events(client, share) is None
    answer = client.post(f"{page}open/", {"token": token})
    cookie = answer.cookies["rlmweb_share"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", page)
    assert token not in cookie.value
    assert share.token_hmac[:8] not in signing.loads(cookie.value, salt=SALT)[1]
    assert 'id="run"' in client.get(page).content.decode()
    assert events(client, share)
    stolen = Client()
    stolen.cookies["rlmweb_share"] = cookie.value
    assert events(stolen, other) is None
    share.refresh_from_db()
    assert share.views == 1
    assert AuditEntry.objects.filter(action="share.open").count() == 1


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "%00", "é"])
def test_a_wrong_token_is_answered_like_a_link_that_is_not_there(cast: Cast, token: str) -> None:
    share, _ = made(cast, "public")
    answers = []
    for public_id in (share.public_id, "nosuchlink"):
        client = Client()
        address = reverse("runs:shared", args=[public_id])
        page = client.get(address)
        refused = client.post(f"{address}open/", {"token": token})
        answers.append((page.status_code, page.content.replace(public_id.encode(), b""), refused.content))
        assert refused.status_code == 404
        assert "rlmweb_share" not in refused.cookies
    assert answers[0] == answers[1]


def test_a_password_is_needed_besides_the_token(cast: Cast) -> None:
    share, token = made(cast, "password", password="correct horse")
    assert events(opened(share, token), share) is None
    assert events(opened(share, token, "wrong horse!"), share) is None
    assert events(opened(share, "x", "correct horse"), share) is None
    assert events(opened(share, token, "correct horse"), share)


@pytest.mark.parametrize("name", [*SIGNED_IN, "sibling", "anonymous"])
def test_links_for_people_with_an_account_look_who_it_is(cast: Cast, name: str) -> None:
    team, _ = made(cast, "team")
    organisation, _ = made(cast, "organisation")
    client = cast.client(name)
    inside = name in ("viewer", "researcher", "mate", "lead")
    around = inside or name in ("sibling", "auditor", "admin", "owner")
    for share, may in ((team, inside), (organisation, around)):
        assert (events(client, share) is not None) == may
        page = client.get(reverse("runs:shared", args=[share.public_id]))
        assert page.status_code == (200 if may else 404)
        assert SECRET_QUESTION not in page.content.decode()


def test_views_are_counted_and_end(cast: Cast) -> None:
    share, token = made(cast, "public", max_views=2)
    assert [events(opened(share, token), share) is not None for _ in range(3)] == [True, True, False]


def test_attempts_are_limited_by_address_and_link(cast: Cast) -> None:
    share, token = made(cast, "public")
    address = reverse("runs:shared_open", args=[share.public_id])
    codes = [Client().post(address, {"token": f"guess-{n}"}).status_code for n in range(PER_MINUTE + 5)]
    assert codes == [404] * PER_MINUTE + [429] * 5
    assert Client().post(address, {"token": token}).status_code == 429
    attempts._buckets.clear()
    assert Client().post(address, {"token": token}).status_code == 204


# Ending -------------------------------------------------------------------------------------------------------------


def test_a_link_ends_by_time_revocation_and_deletion(cast: Cast) -> None:
    share, token = made(cast, "public")
    client = opened(share, token)
    assert events(client, share)
    Share.objects.filter(pk=share.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert events(client, share) is None
    again, token = made(cast, "public")
    client = opened(again, token)
    assert (
        cast.client("lead").post(reverse("runs:share_revoke", args=[cast.session.uuid, again.uuid])).status_code == 302
    )
    assert events(client, again) is None
    assert events(opened(again, token), again) is None
    cast.session.delete()
    assert not Share.objects.exists()


@pytest.mark.parametrize("name", [*SIGNED_IN, "sibling"])
def test_who_revokes(cast: Cast, name: str) -> None:
    share, _ = made(cast, "team", by="researcher")
    cast.client(name).post(reverse("runs:share_revoke", args=[cast.session.uuid, share.uuid]))
    share.refresh_from_db()
    assert (share.revoked_at is not None) == (name in ("researcher", "lead"))


def test_all_links_are_revoked_at_once(cast: Cast) -> None:
    for _ in range(3):
        made(cast, "public")
    cast.client("lead").post(reverse("runs:shares_revoke", args=[cast.session.uuid]))
    assert not Share.objects.filter(revoked_at=None).exists()
    assert revoke(Actor(cast.people["lead"], "web"), cast.session.shares.all()) == 0
    assert AuditEntry.objects.filter(action="share.revoke").count() == 3


# What is shown ------------------------------------------------------------------------------------------------------


def test_the_pages_of_a_link_are_not_for_search_engines_and_hold_nothing_of_the_site(cast: Cast) -> None:
    share, token = made(cast, "public")
    client = opened(share, token)
    answer = client.get(reverse("runs:shared", args=[share.public_id]))
    page = answer.content.decode()
    assert "noindex" in answer["X-Robots-Tag"]
    assert (answer["Referrer-Policy"], answer["Cache-Control"]) == ("no-referrer", "no-store")
    assert "unsafe" not in answer["Content-Security-Policy"]
    for word in (str(cast.session.uuid), cast.session.title, "/sessions/", "Sign out", cast.people["lead"].username):
        assert word not in page
    assert "Disallow: /" in client.get("/robots.txt").content.decode()


def test_a_frozen_link_ends_where_it_was_made(cast: Cast) -> None:
    frozen, token = made(cast, "public", frozen=True)
    live, _ = made(cast, "team", redaction="everything", frozen=False)
    newest = record_events(cast.session, CellOutput(node=0, step=1, cell=1, stream="stdout", text="later"))
    ended = events(opened(frozen, token), frozen)
    assert ended is not None
    assert ended[-1]["seq"] == frozen.upto_seq == newest - 1
    shown = events(cast.client("viewer"), live)
    assert shown is not None
    assert shown[-1]["text"] == "later"


def test_a_subtree_shows_itself_and_its_way_up(cast: Cast) -> None:
    session = make_session(cast.team)
    write_trajectory(session, grown(40))
    mine = Cast(cast.team, session, cast.people)
    parents = {
        event["node"]: event["parent"]
        for event in events(cast.client("viewer"), made(mine, "team", redaction="everything")[0]) or []
        if event["type"] == "node.started"
    }
    top = next(node for node in parents if node in parents.values() and parents[node] is not None)
    share, _ = made(mine, "team", redaction="everything", node=top)
    found = events(cast.client("viewer"), share)
    assert found is not None
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    below = {top}
    for node, parent in parents.items():
        if parent in below:
            below.add(node)
    shown = {event["node"] for event in found if event.get("node") is not None and event["type"] != "withheld"}
    above = set()
    at = parents[top]
    while at is not None:
        above.add(at)
        at = parents[at]
    assert shown == below | above
    started = next(event for event in found if event["type"] == "session.started")
    assert started["question"].startswith("[hidden")
    assert {event["type"] for event in found if event.get("node") in above} == {"node.started"}


def test_long_texts_are_shown_only_when_an_event_of_the_link_has_them(cast: Cast) -> None:
    text = "a long line\n" * 500 + "the key is hunter2hunter2"
    before, _ = made(cast, "team", redaction="everything")
    record_events(cast.session, CellOutput(node=0, step=1, cell=1, stream="stdout", text=text))
    after, _ = made(cast, "team", redaction="everything")
    masked, _ = made(cast, "team", redaction="masked", words=["hunter2hunter2"])
    strict, _ = made(cast, "team", redaction="strict")
    viewer = cast.client("viewer")
    event = (events(viewer, after) or [])[-1]
    sha256 = event["text"]["sha256"]

    def page(share: Share) -> Any:
        return viewer.get(reverse("runs:shared_blob", args=[share.public_id, sha256]))

    assert page(after).content.decode() == text
    assert page(before).status_code == page(strict).status_code == 404
    assert "hunter2" not in page(masked).content.decode()
    assert page(masked).content.decode().startswith("a long line")
    elsewhere = blob_store().put(b"x" * 5000).sha256
    assert viewer.get(reverse("runs:shared_blob", args=[after.public_id, elsewhere])).status_code == 404


def test_a_policy_decides_what_links_there_may_be(cast: Cast) -> None:
    set_policy(cast.team.organisation, "open", {"link_audience": "organisation"}, by=cast.people["owner"])
    client, address = cast.client("lead"), reverse("runs:shares", args=[cast.session.uuid])
    form = {"audience": "public", "redaction": "strict", "frozen": "frozen", "days": "7"}
    assert client.post(address, form).status_code == 422
    assert not Share.objects.exists()
    assert AuditEntry.objects.filter(action="policy.refuse").exists()
    assert client.post(address, {**form, "audience": "team"}).status_code == 200
