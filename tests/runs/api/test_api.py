"""The REST API: the same services as the pages, for programs."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rlmweb.teams.tokens import make_token
from runs.access import Actor
from runs.api.api import api
from runs.api.contexts import SINGLE_UPLOAD_BYTES
from runs.blobs import blob_store
from runs.examples import Tag
from runs.models import Context, LmCredential, Session
from runs.services.sessions import start_session
from tests.cast import SEES, SIGNED_IN, STARTS, STOPS, Cast, make_cast
from tests.factories import make_context, scripted_config

pytestmark = pytest.mark.django_db
TOUR = {"root": {"api": "scripted", "model": "scripted:tour"}}


class Caller:
    """Calls the API with a token of one of the cast."""

    def __init__(self, cast: Cast, name: str) -> None:
        user = cast.people[name]
        _, self.token = make_token(user, user.teams.first() or cast.team, "test")
        self.client = Client()

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else b""
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        return self.client.generic(method, f"/api/v1{path}", data, content_type=kind, headers=headers)


@pytest.fixture
def cast(settings: Any, tmp_path: Any) -> Cast:
    settings.UPLOAD_DIR = tmp_path
    return make_cast()


@pytest.fixture
def call(cast: Cast) -> Caller:
    return Caller(cast, "researcher")


def started(cast: Cast) -> Session:
    actor, context = Actor(cast.people["researcher"], "test"), make_context(cast.team)
    return start_session(actor=actor, team=cast.team, question="How?", context=context, config=scripted_config())


def new_session(cast: Cast, **changed: Any) -> dict[str, Any]:
    return {"question": "How many?", "context": str(make_context(cast.team).uuid), "config": TOUR, **changed}


# Who calls


@pytest.mark.parametrize("token", ["", "x", "rlm_" + "x" * 43])
def test_without_a_valid_token_nobody_gets_in(token: str) -> None:
    response = Client().get("/api/v1/sessions", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["type"]) == (401, "not_signed_in")
    assert response.json()["hint"]


def test_every_operation_asks_who_calls() -> None:
    tried = 0
    for path, methods in api.get_openapi_schema(path_prefix="/api/v1/")["paths"].items():
        for method in methods:
            response = Client().generic(method.upper(), path.replace("{uuid}", str(uuid4())), b"{}")
            assert response.status_code == 401, (method, path)
            tried += 1
    assert tried >= 18


def test_the_description_of_the_api_is_served_and_names_the_addresses_as_they_are() -> None:
    response = Client().get("/api/v1/openapi.json")
    assert response.status_code == 200
    assert "/api/v1/sessions/{uuid}/stop" in response.json()["paths"]


def test_the_printed_token_of_a_single_user_installation_is_a_token(settings: Any) -> None:
    settings.SINGLE_USER, settings.OPEN_TOKEN = True, "printed"
    assert Client().get("/api/v1/sessions", headers={"Authorization": "Bearer printed"}).status_code == 200
    settings.SINGLE_USER = False
    assert Client().get("/api/v1/sessions", headers={"Authorization": "Bearer printed"}).status_code == 401


def test_a_page_calls_with_its_cookie_and_changes_with_the_csrf_token(cast: Cast) -> None:
    client = cast.client("researcher")
    client.handler.enforce_csrf_checks = True
    assert client.get("/api/v1/sessions").status_code == 200
    body = json.dumps(new_session(cast))
    refused = client.post("/api/v1/sessions", body, content_type="application/json")
    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    token = client.get("/keys/").context["csrf_token"]
    headers = {"X-CSRFToken": str(token)}
    assert client.post("/api/v1/sessions", body, content_type="application/json", headers=headers).status_code == 201


@pytest.mark.parametrize("name", SIGNED_IN)
def test_the_roles_are_those_of_the_pages(cast: Cast, name: str) -> None:
    call, session = Caller(cast, name), started(cast)
    for path in ("", "/nodes", "/events"):
        assert call("GET", f"/sessions/{session.uuid}{path}").status_code == (200 if name in SEES else 404)
    seen = [row["uuid"] for row in call("GET", "/sessions").json()["sessions"]]
    assert (str(session.uuid) in seen) == (name in SEES)
    made = call("POST", "/sessions", new_session(cast)).status_code
    assert made == (201 if name in STARTS and name != "stranger" else 404)
    assert call("POST", "/contexts", {"text": "x"}).status_code == (201 if name in STARTS else 404)
    assert call("POST", f"/sessions/{session.uuid}/stop", {}).status_code == (200 if name in STOPS else 404)


# Contexts


def test_a_context_is_given_as_text(cast: Cast, call: Caller) -> None:
    made = call("POST", "/contexts", {"text": "[1]", "name": "numbers.json"})
    assert made.status_code == 201
    assert (made.json()["kind"], made.json()["size_bytes"], made.json()["name"]) == ("json", 3, "numbers.json")
    assert call("GET", f"/contexts/{made.json()['uuid']}").json() == made.json()
    assert call("GET", "/contexts").json()["contexts"][0] == made.json()
    assert Caller(cast, "stranger")("GET", f"/contexts/{made.json()['uuid']}").status_code == 404


def test_a_file_is_uploaded_as_the_body(call: Caller) -> None:
    made = call("PUT", "/contexts/upload?name=data.bin", bytes(range(256)))
    assert (made.status_code, made.json()["kind"]) == (201, "bytes")
    assert blob_store().get(made.json()["sha256"]) == bytes(range(256))
    too_large = call("PUT", "/contexts/upload", b"x", **{"Content-Length": str(SINGLE_UPLOAD_BYTES + 1)})
    assert (too_large.status_code, too_large.json()["type"]) == (413, "too_large")
    assert call("PUT", "/contexts/upload?kind=picture", b"x").status_code == 422


def test_a_large_file_is_uploaded_in_parts(call: Caller) -> None:
    ticket = call("POST", "/contexts/uploads", {"name": "big", "size_bytes": 6}).json()["ticket"]
    headers = {"Upload-Ticket": ticket}
    assert call("PUT", "/contexts/uploads/part?offset=0", b"abc", **headers).json() == {"received_bytes": 3}
    wrong = call("PUT", "/contexts/uploads/part?offset=0", b"abc", **headers)
    assert (wrong.status_code, wrong.json()["hint"]) == (409, "offset=3")
    assert call("POST", "/contexts/uploads/finish", **headers).status_code == 409
    call("PUT", "/contexts/uploads/part?offset=3", b"def", **headers)
    made = call("POST", "/contexts/uploads/finish", **headers)
    assert (made.status_code, made.json()["size_bytes"]) == (201, 6)


def test_an_example_comes_with_its_question_and_tag(call: Caller) -> None:
    made = call("POST", "/contexts/example", {"slug": "s-niah", "size_bytes": 10_000, "seed": 2}).json()
    assert Tag.decode(made["tag"]).check(made["expected"]).correct
    body = {
        "question": made["question"],
        "context": made["context"]["uuid"],
        "config": {**TOUR, "example": made["tag"]},
    }
    assert call("POST", "/sessions", body).status_code == 201
    assert {entry["slug"] for entry in call("GET", "/examples").json()} >= {"s-niah", "stdlib"}


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("", {"text": ""}, "empty"),
        ("", {"text": "{", "kind": "json"}, "not JSON"),
        ("/path", {"path": "/etc/passwd"}, "these folders only"),
        ("/url", {"url": "http://169.254.169.254/"}, "not allowed"),
        ("/example", {"slug": "nothing"}, "no example"),
        ("/example", {"slug": "s-niah", "size_bytes": 1}, "bytes"),
        ("/uploads", {"size_bytes": 10**15}, "RLMWEB_UPLOAD_MAX_BYTES"),
        ("", {"name": "no text"}, "text"),
    ],
)
def test_a_context_that_cannot_be_taken_is_a_typed_error(call: Caller, path: str, body: object, message: str) -> None:
    response = call("POST", f"/contexts{path}", body)
    assert response.status_code == 422
    assert response.json()["type"].startswith("invalid_")
    assert message in response.json()["message"]


# Sessions


def test_a_session_is_started_and_read(cast: Cast, call: Caller) -> None:
    made = call("POST", "/sessions", new_session(cast, title="Mine"))
    assert made.status_code == 201
    session = made.json()
    assert (session["status"], session["title"], session["labels"]) == ("running", "Mine", ["scripted"])
    assert session["usage"]["nodes"] == 1
    assert call("GET", f"/sessions/{session['uuid']}").json() == session
    nodes = call("GET", f"/sessions/{session['uuid']}/nodes").json()
    assert [(node["number"], node["parent"], node["depth"]) for node in nodes] == [(0, None, 0)]


def test_events_are_read_in_pages_as_json_or_lines(cast: Cast, call: Caller) -> None:
    path = f"/sessions/{started(cast).uuid}/events"
    everything = call("GET", path).json()
    assert [event["seq"] for event in everything["events"]] == list(range(1, everything["last"] + 1))
    assert everything["events"][0]["type"] == "session.started"
    page = call("GET", f"{path}?after=1&limit=1").json()
    assert page["events"] == everything["events"][1:2]
    lines = call("GET", f"{path}?format=ndjson")
    assert [json.loads(line) for line in lines.content.splitlines()] == everything["events"]
    assert (lines["Content-Type"], lines["X-Last-Seq"]) == ("application/x-ndjson", str(everything["last"]))


def test_stopping_says_whether_there_was_something_to_stop(cast: Cast, call: Caller) -> None:
    path = f"/sessions/{started(cast).uuid}/stop"
    assert [call("POST", path, {}).json() for _ in range(2)] == [{"stopped": True}, {"stopped": False}]
    assert call("POST", path, {"node": 99}).status_code == 404


def test_the_list_is_narrowed_and_paged(cast: Cast, call: Caller) -> None:
    for _ in range(3):
        started(cast)
    first = call("GET", "/sessions?limit=2&status=running").json()
    second = call("GET", f"/sessions?limit=2&before={first['next']}").json()
    uuids = [row["uuid"] for row in first["sessions"] + second["sessions"]]
    assert len(uuids) == len(set(uuids)) == 4
    assert second["next"] is None
    assert call("GET", "/sessions?text=zebra").json()["sessions"] == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "root"),
        ({"root": {"api": "moon", "model": "x"}}, "moon"),
        ({"root": {"api": "scripted", "model": "scripted:nothing"}}, "no script"),
        ({"root": {"api": "scripted", "model": "gpt-5"}}, "scripted:NAME"),
        ({"root": {"api": "scripted", "model": "scripted:x", "extra": {"script": {"rules": 3}}}}, "root"),
        ({"root": {"api": "openai", "model": "gpt-5"}}, "needs a key"),
        ({"root": {"api": "openai", "model": "x", "base_url": "http://169.254.169.254/"}}, "RLMWEB_MODEL_HOSTS"),
        ({"root": {"api": "openai", "model": "x", "credential": str(uuid4())}}, "no such key"),
        ({**TOUR, "provider": "moon"}, "provider"),
        ({**TOUR, "limits": {"max_depth": 0}}, "max_depth"),
        ({**TOUR, "limits": {"max_cost_usd": -1}}, "max_cost_usd"),
        ({**TOUR, "system_prompt": "\x00"}, "NUL"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_once(
    cast: Cast, call: Caller, config: dict[str, Any], message: str
) -> None:
    before = Session.objects.count()
    response = call("POST", "/sessions", new_session(cast, config=config))
    assert (response.status_code, response.json()["type"]) == (422, "invalid_config")
    assert message in response.json()["message"]
    assert Session.objects.count() == before


def test_a_key_is_used_only_at_its_own_address_and_by_its_team(cast: Cast, call: Caller) -> None:
    row = LmCredential.objects.create(
        team=cast.team, name="Ours", api="openai", base_url="", key_encrypted=b"", key_hint="...abcd"
    )
    model = {"api": "openai", "model": "x", "credential": str(row.uuid)}
    elsewhere = {**model, "base_url": "https://openrouter.ai/api/v1"}
    refused = call("POST", "/sessions", new_session(cast, config={"root": elsewhere}))
    assert "is for api" in refused.json()["message"]
    assert call("POST", "/sessions", new_session(cast, config={"root": model})).status_code == 201
    theirs = Caller(cast, "stranger")
    context = theirs("POST", "/contexts", {"text": "x"}).json()["uuid"]
    refused = theirs("POST", "/sessions", new_session(cast, config={"root": model}, context=context))
    assert "no such key" in refused.json()["message"]
    assert [entry["key_hint"] for entry in call("GET", "/models").json()["credentials"]] == ["...abcd"]
    assert theirs("GET", "/models").json()["credentials"] == []


def test_a_context_is_used_in_its_own_team_only(cast: Cast, call: Caller) -> None:
    body = new_session(cast, team=str(uuid4()))
    assert call("POST", "/sessions", body).status_code == 404
    body = new_session(cast, context=str(uuid4()))
    assert call("POST", "/sessions", body).status_code == 404


def test_what_the_installation_has_is_said(call: Caller) -> None:
    assert "scripted:tour" in call("GET", "/models").json()["scripted"]
    assert call("GET", "/models").json()["embedded"]["state"]
    (local,) = call("GET", "/providers").json()
    assert local["tiers"][local["tier"]] == ""


# Anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_and_no_query_is_an_error_of_the_server(cast: Cast, call: Caller, data: st.DataObject) -> None:
    schema = api.get_openapi_schema(path_prefix="")["paths"]
    path = data.draw(st.sampled_from(sorted(schema)))
    method = data.draw(st.sampled_from(sorted(schema[path])))
    names = [
        parameter["name"] for parameter in schema[path][method].get("parameters", []) if parameter["in"] == "query"
    ]
    values = st.integers() | st.sampled_from(["", "x", "%00", "-1", "9" * 40, "%F0%9F%A6%86"])
    query = "&".join(f"{name}={data.draw(values)}" for name in names)
    call.client.raise_request_exception = False
    uuid = data.draw(st.sampled_from([str(cast.session.uuid), str(uuid4()), "x"]))
    response = call(method.upper(), f"{path.replace('{uuid}', uuid)}?{query}", data.draw(JSON))
    assert response.status_code < 500


def test_json_that_cannot_be_read_is_a_typed_error(call: Caller) -> None:
    for body in (b"{", b"[" * 100_000, b"\xff", b'"\\ud800"', b"null"):
        headers = {"Authorization": f"Bearer {call.token}"}
        response = call.client.post("/api/v1/sessions", body, content_type="application/json", headers=headers)
        assert response.status_code in (400, 422)
        assert response.json()["type"]
    assert Context.objects.count() == 1
