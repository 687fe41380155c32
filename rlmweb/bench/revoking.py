"""How long a link goes on showing what it shares once it is revoked: from the call to the end of an open websocket."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from django.test import Client
from django.urls import reverse

from rlmweb.bench.repository import from_tests
from rlmweb.teams.models import Role
from runs.access import Actor
from runs.events.types import CellOutput
from runs.models import Session, Share
from runs.shares.sharing import Wanted, revoke, share_session
from runs.stream.database import in_thread

WORDS = "this is what nobody may read from now on"


def revocations_ms(rounds: int) -> list[float]:
    """Every second link is one of a session that writes all the time."""
    factories, recorded = from_tests("factories"), from_tests("recorded")
    trajectory = from_tests("trajectories").tour()
    durations_ms = []
    for number in range(rounds):
        lead = factories.make_user(factories.make_team(), Role.LEAD)
        session = factories.make_session(lead.memberships.get().team)
        recorded.write_trajectory(session, trajectory)
        durations_ms.append(asyncio.run(_revocation_ms(session, lead, busy=number % 2 == 1)))
    return durations_ms


async def _revocation_ms(session: Session, lead: Any, *, busy: bool) -> float:
    sockets, recorded = from_tests("streaming.sockets"), from_tests("recorded")
    share, cookie = await in_thread(_shared, lead, session)
    stop = asyncio.Event()

    async def write() -> None:
        while busy and not stop.is_set():
            output = CellOutput(node=0, step=1, cell=1, stream="stdout", text=WORDS)
            await in_thread(recorded.record_events, session, output)

    async with sockets.open_socket(session, path=f"/shared/{share.public_id}/live/", cookie=cookie) as socket:
        await socket.say(type="resume", after=0)
        await socket.hear_until("caught_up")
        writing = asyncio.create_task(write())
        began = time.perf_counter()
        await in_thread(revoke, Actor(lead, "bench"), Share.objects.filter(pk=share.pk))
        while True:
            try:
                message = await socket.hear()
            except sockets.Closed:
                break
            await socket.say(type="ack", seq=message["last"])
        ended = time.perf_counter()
        stop.set()
        await writing
    return (ended - began) * 1000


def _shared(lead: Any, session: Session) -> tuple[Share, str]:
    """A link and the cookie header of somebody who has opened it."""
    wanted = Wanted(audience="public", redaction="strict", frozen=False)
    share, token = share_session(Actor(lead, "bench"), session, wanted)
    client = Client(headers={"host": "localhost"})
    client.post(reverse("runs:shared_open", args=[share.public_id]), {"token": token})
    return share, f"rlmweb_share={client.cookies['rlmweb_share'].value}"
