"""The websocket protocol over the real channel layer and the real database."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from channels.layers import channel_layers, get_channel_layer
from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as Login
from django.db import OperationalError

from rlmweb import asgi
from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import Membership, OrganisationPolicy
from rlmweb.teams.policies.idling import ACTIVE_AT
from runs.events.read import read_lines
from runs.events.types import CellOutput, Log
from runs.models import Session
from runs.stream import hub as hubs
from runs.stream import subscriber
from runs.stream.database import in_thread
from runs.stream.doorbell import group_of
from tests.factories import make_session, make_team, make_user
from tests.recorded import record_events, write_trajectory
from tests.streaming.sockets import Closed, open_socket
from tests.trajectories import grown, tour

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def researcher() -> Any:
    return make_user(make_team())


@pytest.fixture
def session(researcher: Any) -> Session:
    return make_session(Membership.objects.get(user=researcher).team)


@pytest.fixture(autouse=True)
async def fresh_layer() -> Any:
    """Connections of a layer belong to the loop of one test."""
    yield
    layer = get_channel_layer()
    assert layer is not None
    await layer.flush()
    channel_layers.backends.clear()


def output(text: str) -> CellOutput:
    return CellOutput(node=0, step=1, cell=1, stream="stdout", text=text)


async def commit(session: Session, *events: Any) -> int:
    return await in_thread(record_events, session, *events)


async def test_a_new_socket_gets_the_whole_log_in_order_then_is_told_that_it_is_up_to_date(
    session: Session, researcher: Any
) -> None:
    log = grown(60)
    await in_thread(write_trajectory, session, log)
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        events = await socket.hear_until("caught_up")
    assert [event["seq"] for event in events] == list(range(1, len(log.events) + 1))
    assert events[0]["type"] == "session.started"


async def test_a_resumed_socket_gets_only_what_it_has_not(session: Session, researcher: Any) -> None:
    await in_thread(write_trajectory, session, tour())
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=40)
        events = await socket.hear_until("caught_up")
    assert events[0]["seq"] == 41


async def test_events_committed_while_it_listens_arrive_once_and_in_order(session: Session, researcher: Any) -> None:
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        assert await socket.hear_until("caught_up") == []
        for n in range(30):
            await commit(session, output(f"{n}"), output(f"{n} again"))
        events = await socket.hear_events(60)
    assert [event["seq"] for event in events] == list(range(1, 61))
    assert events[-1]["text"] == "29 again"


async def test_two_sockets_of_one_session_share_a_reader_and_both_get_everything(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = []
    real = hubs.Hub.start

    async def counted(self: hubs.Hub) -> None:
        readers.append(self)
        await real(self)

    monkeypatch.setattr(hubs.Hub, "start", counted)
    async with open_socket(session, researcher) as one, open_socket(session, researcher) as two:
        for socket in (one, two):
            await socket.say(type="resume", after=0)
            await socket.hear_until("caught_up")
        await commit(session, *[output(str(n)) for n in range(500)])
        heard = [await socket.hear_events(500) for socket in (one, two)]
    assert heard[0] == heard[1]
    assert [event["seq"] for event in heard[0]] == list(range(1, 501))
    assert len(set(map(id, readers))) == 1


async def test_the_reader_ends_with_its_last_socket(session: Session, researcher: Any) -> None:
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        running = hubs._hubs[asyncio.get_running_loop()]
        assert list(running) == [session.uuid]
    assert running == {}


async def test_a_lost_bell_is_made_up_for(session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "POLL_S", 0.2)
    monkeypatch.setattr("runs.services.transaction.ring", lambda uuid, seq: None)
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        await commit(session, output("nobody rang"))
        events = await socket.hear_events(1)
    assert events[0]["text"] == "nobody rang"


async def test_the_bell_is_heard_long_before_the_next_look(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With this the event can only come by the bell.
    monkeypatch.setattr(hubs, "POLL_S", 3600)
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        await commit(session, output("ding"))
        assert (await socket.hear_events(1))[0]["text"] == "ding"


class NoBroker:
    """A channel layer whose server is away."""

    async def new_channel(self) -> str:
        raise ConnectionError("the broker is away")


async def test_without_a_broker_events_come_all_the_same(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "POLL_S", 0.2)
    monkeypatch.setattr(hubs, "get_channel_layer", NoBroker)
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        await commit(session, output("unheard"))
        assert (await socket.hear_events(1))[0]["text"] == "unheard"


async def test_a_record_that_is_away_for_a_moment_delays_live_events(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "RETRY_S", 0.05)
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        failures = fail_reads(monkeypatch, times=3, bounded=False)
        await commit(session, output("late but here"))
        assert (await socket.hear_events(1))[0]["text"] == "late but here"
    assert len(failures) == 3


async def test_a_record_that_is_away_while_catching_up_sends_the_client_away_for_a_while(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await commit(session, output("one"))
    # A client that catches up reads up to where the hub is; the hub itself reads without a bound.
    fail_reads(monkeypatch, times=1, bounded=True)
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        with pytest.raises(Closed) as closed:
            await socket.hear_until("never")
    assert closed.value.code == 4503


def fail_reads(monkeypatch: pytest.MonkeyPatch, *, times: int, bounded: bool) -> list[int]:
    """Let the next reads of the log fail; returns a list that grows with each failure."""
    failures: list[int] = []
    real = read_lines

    def read(session_pk: int, after: int, **bounds: Any) -> Any:
        if len(failures) < times and ("upto" in bounds) == bounded:
            failures.append(after)
            raise OperationalError("the database is away")
        return real(session_pk, after, **bounds)

    monkeypatch.setattr(hubs, "read_lines", read)
    return failures


async def test_a_forged_bell_brings_no_event(session: Session, researcher: Any) -> None:
    layer = get_channel_layer()
    assert layer is not None
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        await layer.group_send(group_of(session.uuid), {"type": "ring", "seq": 10**6})
        await commit(session, output("true"))
        assert [event["seq"] for event in await socket.hear_events(1)] == [1]


async def test_a_client_that_acknowledges_nothing_is_sent_a_bounded_amount(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "HEARTBEAT_S", 0.2)
    await in_thread(write_trajectory, session, grown(2500))
    async with open_socket(session, researcher) as stalled, open_socket(session, researcher) as healthy:
        await stalled.say(type="resume", after=0)
        received, last = 0, 0
        while (message := await stalled.hear())["type"] == "events":
            received += len(str(message["events"]))
            last = message["last"]
        assert message["type"] == "heartbeat"
        assert received < 2 * subscriber.WINDOW_BYTES
        assert last < message["last"]

        await healthy.say(type="resume", after=0)
        assert (await healthy.hear_until("caught_up"))[-1]["seq"] == message["last"]

        # It wakes up and catches up by itself, without a gap and without anything twice.
        await stalled.say(type="ack", seq=last)
        events = await stalled.hear_until("caught_up")
    assert [event["seq"] for event in events] == list(range(last + 1, message["last"] + 1))


async def test_an_idle_socket_stays_open_and_hears_a_heartbeat(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "HEARTBEAT_S", 7.0)  # longer than the broker's client waits by default
    await commit(session, output("one"))
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        assert await socket.hear(timeout_s=20) == {"type": "heartbeat", "last": 1}
        await commit(session, output("two"))
        assert (await socket.hear_events(2))[0]["text"] == "two"


@pytest.mark.parametrize(
    "message",
    ["{}", "nonsense", '{"type":"resume"}', '{"type":"resume","after":-1}', '{"type":"dance","after":1}', "[1]" * 900],
)
async def test_a_bad_message_closes_the_socket_and_says_why(session: Session, researcher: Any, message: str) -> None:
    async with open_socket(session, researcher) as socket:
        await socket.communicator.send_to(text_data=message)
        with pytest.raises(Closed) as closed:
            await socket.hear()
    assert closed.value.code == 4400
    assert closed.value.reason


async def test_bytes_a_second_resume_and_an_early_ack_are_refused(session: Session, researcher: Any) -> None:
    for messages in (
        [{"bytes_data": b"{}"}],
        [{"text_data": '{"type":"ack","seq":1}'}],
        [{"text_data": '{"type":"resume","after":0}'}] * 2,
    ):
        async with open_socket(session, researcher) as socket:
            for message in messages:
                await socket.communicator.send_to(**message)
            with pytest.raises(Closed) as closed:
                await socket.hear_until("never")
        assert closed.value.code == 4400


async def test_acknowledging_what_was_not_sent_is_refused(session: Session, researcher: Any) -> None:
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        await socket.say(type="ack", seq=77)
        with pytest.raises(Closed) as closed:
            await socket.hear()
    assert (closed.value.code, closed.value.reason) == (4400, "77 was not sent yet")


async def test_a_client_ahead_of_the_log_is_told_to_load_again(session: Session, researcher: Any) -> None:
    await commit(session, output("one"))
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=2)
        with pytest.raises(Closed) as closed:
            await socket.hear()
    assert closed.value.code == 4409


async def test_a_silent_client_is_let_go(session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.consumers.RESUME_TIMEOUT_S", 0.05)
    async with open_socket(session, researcher) as socket:
        with pytest.raises(Closed) as closed:
            await socket.hear()
    assert closed.value.code == 4408


async def test_only_the_team_may_listen(session: Session) -> None:
    stranger = await in_thread(lambda: make_user(make_team()))
    teamless = await in_thread(make_user)
    for user in (None, stranger, teamless):
        async with open_socket(session, user) as socket:
            await socket.say(type="resume", after=0)
            with pytest.raises(Closed) as closed:
                await socket.hear()
        assert closed.value.code == 4404


async def test_an_unknown_session_and_one_of_others_look_the_same(session: Session, researcher: Any) -> None:
    async with open_socket("00000000-0000-4000-8000-000000000000", researcher) as socket:
        with pytest.raises(Closed) as closed:
            await socket.hear()
    assert (closed.value.code, closed.value.reason) == (4404, "no such session for you")


async def leave_team(user: Any) -> None:
    await in_thread(lambda: Membership.objects.filter(user=user).delete())


async def deactivate(user: Any) -> None:
    await in_thread(lambda: get_user_model().objects.filter(pk=user.pk).update(is_active=False))


async def sign_out(user: Any) -> None:
    await in_thread(lambda: Login.objects.all().delete())


@pytest.mark.parametrize(("withdraw", "code"), [(leave_team, 4404), (deactivate, 4401), (sign_out, 4401)])
async def test_access_that_was_withdrawn_ends_the_stream_before_the_next_event(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch, withdraw: Any, code: int
) -> None:
    monkeypatch.setattr(subscriber, "RECHECK_S", 0.0)
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        await withdraw(researcher)
        await commit(session, Log(level="info", message="secret"))
        with pytest.raises(Closed) as closed:
            await socket.hear()
    assert closed.value.code == code


async def idle_too_long(user: Any) -> None:
    def turn_back() -> None:
        row = Login.objects.get()
        store = SessionStore(row.session_key)
        store[ACTIVE_AT] = time.time() - 61 * 60
        store.save()

    await in_thread(turn_back)


async def test_a_socket_of_somebody_who_does_nothing_is_closed_with_the_reason_and_an_entry(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "HEARTBEAT_S", 0.1)
    document = {"idle_minutes": 60, "second_factor": False}
    organisation = await in_thread(lambda: session.team.organisation)
    await in_thread(
        lambda: OrganisationPolicy.objects.create(
            organisation=organisation, version=1, profile="open", document=document
        )
    )
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        await idle_too_long(researcher)
        with pytest.raises(Closed) as closed:
            await socket.hear_until("never")
    assert closed.value.code == 4401
    assert "Nothing was done for 60 minutes" in closed.value.reason
    assert await in_thread(lambda: AuditEntry.objects.filter(action="user.time_out", source="websocket").count()) == 1


async def test_withdrawn_access_ends_a_quiet_stream_with_the_next_heartbeat(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "HEARTBEAT_S", 0.1)
    async with open_socket(session, researcher) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        await leave_team(researcher)
        with pytest.raises(Closed) as closed:
            await socket.hear_until("never")
    assert closed.value.code == 4404


async def test_a_page_of_another_site_gets_no_socket(
    session: Session, researcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(asgi.websockets, OriginValidator)
    monkeypatch.setattr("django.conf.settings.ALLOWED_HOSTS", ["localhost"])
    strict = AllowedHostsOriginValidator(asgi.websockets.application)
    monkeypatch.setitem(asgi.application.application_mapping, "websocket", strict)
    with pytest.raises(Closed):
        async with open_socket(session, researcher, origin="https://evil.example"):
            pass
    async with open_socket(session, researcher, origin="http://localhost") as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
