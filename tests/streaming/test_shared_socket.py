"""The websocket of a link: what it shows, to whom, and that revoking ends it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels.layers import channel_layers, get_channel_layer
from django.test import Client
from django.urls import reverse

from rlmweb.teams.models import Membership, Role
from runs.access import Actor
from runs.events.types import CellOutput
from runs.models import Session, Share
from runs.shared_consumer import SharedConsumer
from runs.shares.attempts import attempts
from runs.shares.sharing import Wanted, revoke, share_session
from runs.stream.database import in_thread
from tests.factories import make_session, make_team, make_user
from tests.recorded import record_events, write_trajectory
from tests.streaming.sockets import Closed, open_socket
from tests.trajectories import tour

pytestmark = pytest.mark.django_db(transaction=True)
REVOKED_WITHIN_S = 2.0
"""What the page promises."""


@pytest.fixture
def lead() -> Any:
    attempts._buckets.clear()
    return make_user(make_team(), Role.LEAD)


@pytest.fixture
def session(lead: Any) -> Session:
    found = make_session(Membership.objects.get(user=lead).team)
    write_trajectory(found, tour())
    return found


@pytest.fixture(autouse=True)
async def fresh_layer() -> Any:
    yield
    layer = get_channel_layer()
    assert layer is not None
    await layer.flush()
    channel_layers.backends.clear()


def shared(lead: Any, session: Session, **fields: Any) -> tuple[Share, str]:
    """A link and the cookie header of who has opened it."""
    wanted = Wanted(**{"audience": "public", "redaction": "strict", "frozen": False, **fields})
    share, token = share_session(Actor(lead, "web"), session, wanted)
    client = Client()
    client.post(reverse("runs:shared_open", args=[share.public_id]), {"token": token})
    return share, f"rlmweb_share={client.cookies['rlmweb_share'].value}" if token else ""


def path(share: Share) -> str:
    return f"/shared/{share.public_id}/live/"


async def refused(address: str, session: Session, cookie: str) -> int:
    """The code with which the socket at `address` is closed; 0 when it says anything."""
    async with open_socket(session, path=address, cookie=cookie) as socket:
        await socket.say(type="resume", after=0)
        try:
            await socket.hear()
        except Closed as closed:
            return closed.code
    return 0


async def test_a_link_shows_the_log_redacted_and_goes_on(session: Session, lead: Any) -> None:
    share, cookie = await in_thread(shared, lead, session)
    async with open_socket(session, path=path(share), cookie=cookie) as socket:
        await socket.say(type="resume", after=0)
        events = await socket.hear_until("caught_up")
        assert events[0]["question"].startswith("[hidden")
        newest = await in_thread(
            record_events, session, CellOutput(node=0, step=1, cell=1, stream="stdout", text="hunter2")
        )
        late = await socket.hear_events(newest)
    assert [event["seq"] for event in [*events, *late]] == list(range(1, newest + 1))
    assert "hunter2" not in str(late)


@pytest.mark.parametrize("cookie", ["", "rlmweb_share=x", "rlmweb_share="])
async def test_without_its_cookie_a_link_has_no_socket(session: Session, lead: Any, cookie: str) -> None:
    share, _ = await in_thread(shared, lead, session)
    assert await refused(path(share), session, cookie) == 4404


async def test_the_cookie_of_one_link_opens_no_other_and_no_session(session: Session, lead: Any) -> None:
    other, _ = await in_thread(shared, lead, session)
    _, cookie = await in_thread(shared, lead, session)
    for address in (path(other), f"/ws/sessions/{session.uuid}/"):
        assert await refused(address, session, cookie) == 4404


async def test_a_frozen_link_has_no_socket(session: Session, lead: Any) -> None:
    share, cookie = await in_thread(shared, lead, session, frozen=True)
    assert await refused(path(share), session, cookie) == 4404


@pytest.mark.parametrize("busy", [False, True])
async def test_revoking_ends_open_sockets(session: Session, lead: Any, busy: bool) -> None:
    share, cookie = await in_thread(shared, lead, session)
    stop = asyncio.Event()

    async def write() -> None:
        while busy and not stop.is_set():
            await in_thread(record_events, session, CellOutput(node=0, step=1, cell=1, stream="stdout", text="more"))

    async with open_socket(session, path=path(share), cookie=cookie) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        writing = asyncio.create_task(write())
        await in_thread(revoke, Actor(lead, "web"), Share.objects.filter(pk=share.pk))
        code = 0
        while not code:
            try:
                message = await socket.hear()
            except Closed as closed:
                code = closed.code
                continue
            await socket.say(type="ack", seq=message["last"])
        stop.set()
        await writing
    assert code == 4404
    assert SharedConsumer.recheck_s is not None
    assert SharedConsumer.recheck_s < REVOKED_WITHIN_S
