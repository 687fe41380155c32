"""The documentation pages are made from the code and the protocol's own text."""

from __future__ import annotations

import pytest
from django.test import Client

from runs.event_reference import event_reference
from runs.events.types import AnyEvent, LmFinished
from runs.templatetags.prose import inline_code
from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(make_user())
    return client


def test_every_event_type_has_its_heading(client: Client) -> None:
    page = client.get("/docs/events/").content.decode()
    for kind in AnyEvent.__args__:
        assert f'<section id="{kind.__struct_config__.tag}">' in page


def test_fields_are_listed_with_what_their_docstrings_say() -> None:
    (entry,) = (entry for entry in event_reference()["lm"] if entry.name == "lm.finished")
    assert [field.name for field in entry.fields] == list(LmFinished.__struct_fields__)
    docs = {field.name: field.doc for field in entry.fields}
    assert "unknown" in docs["cost_source"]
    assert docs["reply"] == ""


def test_the_protocol_is_rendered_without_raw_html(client: Client) -> None:
    page = client.get("/docs/protocol/").content.decode()
    assert "<h2>Back-pressure</h2>" in page
    assert "<table>" in page


def test_every_operation_of_the_api_is_listed(client: Client) -> None:
    schema = client.get("/api/v1/openapi.json").json()
    page = client.get("/docs/api/").content.decode()
    assert len(schema["paths"]) > 10
    for path in schema["paths"]:
        assert f"<code>{path}</code>" in page


def test_code_in_prose_is_escaped() -> None:
    assert inline_code("a `<b>` & `c`") == "a <code>&lt;b&gt;</code> &amp; <code>c</code>"
    assert inline_code("an odd ` mark <i>") == "an odd <code> mark &lt;i&gt;</code>"
