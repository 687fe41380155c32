"""The form that starts a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from runs.engine.limits import Limits
from runs.examples import Tag
from runs.form_limits import FIELDS, initial_values
from runs.models import Context, LmCredential, Session
from runs.services.config import Determinism, config_from_plain
from tests.cast import SIGNED_IN, STARTS, Cast, make_cast
from tests.factories import make_context

pytestmark = pytest.mark.django_db


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def fields(**changed: Any) -> dict[str, Any]:
    filled = {name: value for name, value in initial_values().items() if value is not None}
    filled |= {"question": "How many?", "source": "paste", "text": "alpha\r\nbeta\n"}
    filled |= {"root": "scripted:tour", "sub": "same", "provider": "local", "compaction": "on"}
    return {name: value for name, value in {**filled, **changed}.items() if value is not None}


def send(cast: Cast, name: str = "researcher", **changed: Any) -> Any:
    return cast.client(name).post(reverse("runs:session_new"), fields(**changed))


def newest() -> Session:
    return Session.objects.select_related("context").order_by("-pk")[0]


def errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 422
    found: dict[str, list[str]] = response.context["form"].errors
    return found


def test_a_pasted_text_becomes_a_session(cast: Cast) -> None:
    response = send(cast, title="My own")
    session = newest()
    assert response["Location"] == reverse("runs:session", args=[session.uuid])
    assert (session.title, session.question, session.team) == ("My own", "How many?", cast.team)
    assert session.created_by == cast.people["researcher"]
    assert (session.context.source, session.context.size_bytes) == ("paste", 11)
    config = config_from_plain(session.config)
    assert (config.root.model, config.sub, config.provider, config.limits) == ("scripted:tour", None, "local", Limits())
    assert session.labels == ["scripted"]


@pytest.mark.parametrize("name", SIGNED_IN)
def test_who_may_start_starts_in_a_team_of_their_own(cast: Cast, name: str) -> None:
    before = Session.objects.count()
    response = send(cast, name)
    assert response.status_code == (302 if name in STARTS else 404)
    assert Session.objects.count() == before + (name in STARTS)
    if name == "stranger":
        assert newest().team != cast.team


@pytest.mark.parametrize(("sent", "stored"), [(None, "every"), ("every", "every"), ("last", "last"), ("off", "off")])
def test_when_snapshots_are_taken_can_be_chosen(cast: Cast, sent: str | None, stored: str) -> None:
    send(cast, snapshots=sent)
    assert config_from_plain(newest().config).snapshots == stored


def test_a_time_of_snapshots_that_does_not_exist_is_refused(cast: Cast) -> None:
    assert "snapshots" in errors(send(cast, snapshots="sometimes"))


def test_a_session_can_be_made_repeatable(cast: Cast) -> None:
    send(cast)
    assert config_from_plain(newest().config).determinism == Determinism()
    send(cast, freeze_clock="on", random_seed="0")
    fixed = config_from_plain(newest().config).determinism
    assert fixed.seed == 0
    assert fixed.clock is not None
    assert 0 <= newest().created_at.timestamp() - fixed.clock < 60
    assert "random_seed" in errors(send(cast, random_seed="-1"))


def test_limits_are_read_in_the_units_of_the_form(cast: Cast) -> None:
    send(cast, limit_max_cost_usd="0.25", limit_max_tokens="", limit_max_output_bytes="3", limit_max_depth="4")
    limits = config_from_plain(newest().config).limits
    assert (limits.max_cost_usd, limits.max_tokens) == (0.25, None)
    assert (limits.max_output_bytes, limits.max_depth) == (3 * 1024 * 1024, 4)


def test_every_limit_has_a_field() -> None:
    assert {spec.name for spec in FIELDS} == set(Limits.__struct_fields__)


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"question": " "}, "question", "Ask something"),
        ({"text": ""}, "text", "Paste the text"),
        ({"source": "upload", "text": None}, "file", "Choose a file"),
        ({"source": "path"}, "source", "valid choice"),
        ({"source": "moon"}, "source", "valid choice"),
        ({"context": "not-a-uuid"}, "context", "gone"),
        ({"kind": "json"}, "text", "not JSON"),
        ({"kind": "picture"}, "kind", "valid choice"),
        ({"root": "scripted:nothing"}, "root", "valid choice"),
        ({"root": "key:00000000-0000-0000-0000-000000000000"}, "root", "valid choice"),
        ({"limit_max_depth": "0"}, "limit_max_depth", "greater"),
        ({"limit_max_depth": ""}, "limit_max_depth", "required"),
        ({"limit_max_cost_usd": "nan"}, "limit_max_cost_usd", "number"),
        ({"limit_memory_mb": "1e9"}, "limit_memory_mb", "number"),
        ({"tier": "none-at-all"}, "tier", "valid choice"),
        ({"provider": "moon"}, "provider", "valid choice"),
        ({"source": "example", "example": "nothing"}, "example", "valid choice"),
        ({"source": "example", "example": "s-niah", "example_question": "longest-file"}, "example", "question kind"),
    ],
)
def test_what_is_wrong_is_said_next_to_its_field(cast: Cast, changed: dict[str, Any], field: str, message: str) -> None:
    before = Session.objects.count()
    response = send(cast, **changed)
    assert message in str(errors(response)[field])
    assert Session.objects.count() == before
    assert message in response.content.decode().replace("&#x27;", "'")


def test_nothing_that_was_entered_is_lost_on_an_error(cast: Cast) -> None:
    page = send(cast, root="nothing", title="My title", text="my long text", limit_max_nodes="77").content.decode()
    for text in ("My title", "my long text", "How many?", 'value="77"'):
        assert text in page


def test_a_file_that_came_with_a_mistake_need_not_be_sent_again(cast: Cast) -> None:
    file = SimpleUploadedFile("notes.txt", b"words of a file")
    response = send(cast, source="upload", text=None, file=file, question="")
    assert "question" in errors(response)
    context = Context.objects.get(name="notes.txt")
    assert str(context.uuid) in response.content.decode()
    response = send(cast, source="upload", text=None, context=str(context.uuid))
    assert response.status_code == 302
    assert newest().context == context


def test_a_file_without_javascript_is_taken(cast: Cast) -> None:
    send(cast, source="upload", text=None, file=SimpleUploadedFile("data.bin", bytes(range(256)) * 10))
    assert (newest().context.kind, newest().context.source) == ("bytes", "upload")


def test_an_empty_file_is_refused_with_a_reason(cast: Cast) -> None:
    response = send(cast, source="upload", text=None, file=SimpleUploadedFile("empty", b""))
    assert "empty" in str(errors(response)["file"]) or "Choose a file" in str(errors(response)["file"])


def test_a_context_of_another_team_cannot_be_used(cast: Cast) -> None:
    theirs = make_context(cast.team)
    assert "gone" in str(
        errors(send(cast, "stranger", source="upload", text=None, context=str(theirs.uuid)))["context"]
    )


def test_a_file_of_the_server_is_offered_only_where_it_is_allowed(cast: Cast, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("line")
    assert 'name="path"' not in cast.client("lead").get(reverse("runs:session_new")).content.decode()
    settings.CONTEXT_PATHS = (tmp_path,)
    assert 'name="path"' in cast.client("lead").get(reverse("runs:session_new")).content.decode()
    assert "these folders only" in str(errors(send(cast, source="path", path="/etc/passwd"))["path"])
    send(cast, source="path", path=str(tmp_path / "log"))
    assert newest().context.source == "path"


def test_an_address_is_offered_only_where_it_is_allowed(cast: Cast, settings: Any) -> None:
    settings.CONTEXT_HOSTS = ("allowed.example",)
    assert "not allowed" in str(errors(send(cast, source="url", url="http://169.254.169.254/"))["url"])


def test_an_example_asks_its_own_question_and_is_judged(cast: Cast) -> None:
    changed = {"source": "example", "example": "s-niah", "example_size": "10000", "example_seed": "5"}
    send(cast, question="", text=None, **changed)
    session = newest()
    tag = Tag.decode(session.config["example"])
    assert (tag.slug, tag.seed) == ("s-niah", 5)
    assert session.question
    send(cast, question="Something else?", text=None, **changed)
    assert "example" not in newest().config


def test_an_example_is_shown_before_it_is_started(cast: Cast) -> None:
    before = Session.objects.count()
    data = fields(question="", source="example", text=None, example="s-niah", example_size="10000", example_seed="5")
    response = cast.client("researcher").post(reverse("runs:example_preview"), data)
    assert response.status_code == 200
    assert "<h3>Question</h3>" in response.content.decode()
    assert Session.objects.count() == before
    bad = cast.client("researcher").post(reverse("runs:example_preview"), data | {"example_size": "12"})
    assert bad.status_code == 422
    assert cast.client("viewer").post(reverse("runs:example_preview"), data).status_code == 404


def test_models_of_the_team_are_used_by_key(cast: Cast) -> None:
    key = LmCredential.objects.create(
        team=cast.team,
        name="Ours",
        api="openai",
        base_url="https://api.openai.com/v1",
        key_encrypted=b"",
        key_hint="...1234",
    )
    choice = f"key:{key.uuid}"
    assert "Name the model" in str(errors(send(cast, root=choice))["root"])
    send(cast, root=choice, root_model="gpt-5-mini", sub=choice, sub_model="gpt-5-nano")
    config = config_from_plain(newest().config)
    assert (config.root.api, config.root.model, config.root.credential) == ("openai", "gpt-5-mini", str(key.uuid))
    assert config.root.base_url == key.base_url
    assert config.sub_model.model == "gpt-5-nano"
    assert "valid choice" in str(errors(send(cast, "stranger", root=choice, root_model="x"))["root"])


def test_the_local_model_is_offered_and_labelled(cast: Cast) -> None:
    send(cast, root="embedded")
    session = newest()
    assert config_from_plain(session.config).root.profile == "small"
    assert session.labels == ["local model"]


def test_a_link_can_bring_an_example_or_a_context(cast: Cast) -> None:
    client, address = cast.client("researcher"), reverse("runs:session_new")
    assert client.get(f"{address}?example=s-niah").context["form"]["example"].value() == "s-niah"
    context = make_context(cast.team, name="shared notes")
    assert "shared notes" in client.get(f"{address}?context={context.uuid}").content.decode()
    assert cast.client("stranger").get(f"{address}?context={context.uuid}").status_code == 404
