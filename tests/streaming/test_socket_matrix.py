"""Every websocket and every message against everybody: who hears what a session says, and that nobody else hears a word.

A new websocket, or a new message, fails until somebody has looked at who may use it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from channels.layers import channel_layers, get_channel_layer
from cryptography.fernet import Fernet
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session as Login
from django.test import Client
from django.urls import reverse

from rlmweb.teams.models import Role
from runs.access import Actor
from runs.models import Share
from runs.routing import websocket_urlpatterns
from runs.shares.attempts import attempts
from runs.shares.sharing import Wanted, share_session
from runs.stream.database import in_thread
from runs.stream.frames import Ack, Resume
from tests.streaming.sockets import Closed, cookie_of, open_socket
from tests.worlds import World, make_world

pytestmark = pytest.mark.django_db(transaction=True)
SESSION, LINK = "ws/sessions/<uuid:uuid>/", "shared/<str:public_id>/live/"
HEARS: dict[str, tuple[str, ...]] = {
    SESSION: ("viewer", "researcher", "lead"),
    LINK: ("link holder",),
}
"""Auditors, admins and owners see what sessions hold by a grant only, and whoever is signed in needs the token of a link."""
MESSAGES: dict[str, dict[str, object]] = {
    "resume": {"type": "resume", "after": 0},
    "ack": {"type": "ack", "seq": 1},
    "one that there is not": {"type": "fork", "node": 0},
    "nothing of ours": {},
}
REFUSED = (4400, 4401, 4404)


@pytest.fixture
async def fresh_layer() -> Any:
    yield
    layer = get_channel_layer()
    assert layer is not None
    await layer.flush()
    channel_layers.backends.clear()


def cookies(here: World, away: World) -> tuple[dict[str, str], Share]:
    """The cookie header of everybody, and a live link."""
    share, token = share_session(
        Actor(here.people["lead"], "test"), here.session, Wanted("public", redaction="masked", frozen=False)
    )
    holder = Client()
    holder.post(reverse("runs:shared_open", args=[share.public_id]), {"token": token})
    name = django_settings.SESSION_COOKIE_NAME
    gone = cookie_of(here.people["lead"])
    Login.objects.filter(session_key=gone).delete()
    found = {role.value: f"{name}={cookie_of(here.people[role.value])}" for role in Role}
    found |= {f"foreign {role.value}": f"{name}={cookie_of(away.people[role.value])}" for role in Role}
    found |= {"anonymous": "", "expired": f"{name}={gone}"}
    return {**found, "link holder": f"rlmweb_share={holder.cookies['rlmweb_share'].value}"}, share


async def heard(here: World, path: str, cookie: str, message: dict[str, object]) -> tuple[str, int]:
    """What a socket says to a first message, and the code with which it is closed; 0 while it is open."""
    said = ""
    async with open_socket(here.session, path=path, cookie=cookie) as socket:
        await socket.say(**message)
        try:
            while True:
                answer = await socket.hear()
                said += json.dumps(answer)
                if answer["type"] == "caught_up":
                    return said, 0
                if answer["type"] == "events":
                    await socket.say(type="ack", seq=answer["last"])
        except Closed as closed:
            return said + closed.reason, closed.code


def test_every_websocket_and_every_message_is_here() -> None:
    assert {str(each.pattern) for each in websocket_urlpatterns} == set(HEARS)
    ours = {each.__struct_config__.tag for each in (Resume, Ack)}
    assert ours == {message["type"] for name, message in MESSAGES.items() if name in ours}


async def test_who_hears_what(settings: Any, tmp_path: Any, fresh_layer: Any) -> None:
    settings.SECRET_KEYS_AT_REST = (Fernet.generate_key().decode(),)
    settings.UPLOAD_DIR = tmp_path
    attempts._buckets.clear()
    here, away = await in_thread(lambda: (make_world("quuxol"), make_world("zorbax")))
    people, share = await in_thread(cookies, here, away)
    paths = {SESSION: f"/ws/sessions/{here.session.uuid}/", LINK: f"/shared/{share.public_id}/live/"}
    wrong = []
    for pattern, path in paths.items():
        for who, cookie in people.items():
            for name, message in MESSAGES.items():
                said, code = await heard(here, path, cookie, message)
                may = who in HEARS[pattern]
                hears = code == 0 and '"events"' in said
                if hears is not (may and name == "resume"):
                    wrong.append(f"{pattern}: {who} says {name}: {'hears it' if hears else code}")
                if not hears and (code not in REFUSED or here.word in said):
                    wrong.append(f"{pattern}: {who} says {name}: closed with {code}: {said[:200]}")
    assert wrong == [], "\n".join(wrong)
