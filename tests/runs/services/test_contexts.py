"""Contexts: what they are taken for, from where they may come, and what is refused."""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import Team
from runs.access import Actor
from runs.blobs import blob_store
from runs.models import Context
from runs.services.content_kind import Watcher
from runs.services.contexts import (
    ContextError,
    context_from_chunks,
    context_from_example,
    context_from_path,
    context_from_text,
    context_from_url,
    preview_of,
)
from tests.factories import make_team, make_user
from tests.stored import blob_folder

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def actor(team: Team) -> Actor:
    return Actor(make_user(team), "test")


def take(actor: Actor, team: Team, *chunks: bytes, kind: str = "", name: str = "file") -> Context:
    return context_from_chunks(chunks, actor=actor, team=team, name=name, source="upload", kind=kind)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"plain words", "text"),
        ("größer als".encode(), "text"),
        (b"\xef\xbb\xbfwith a byte order mark", "text"),
        (b'  {"a": [1, 2]}\n', "json"),
        (b"[1, 2", "text"),
        (b"[" * 100_000, "text"),
        (b"12", "text"),
        (b"text with \x00 inside", "bytes"),
        (bytes(range(256)) * 20, "bytes"),
        ("utf-16".encode("utf-16"), "bytes"),
        (b"mostly text, one bad byte \xff here" + b"." * 100, "text"),
    ],
)
def test_a_context_is_taken_for_what_it_looks_like(actor: Actor, team: Team, data: bytes, kind: str) -> None:
    context = take(actor, team, data)
    assert (context.kind, context.size_bytes) == (kind, len(data))
    assert blob_store().get(context.sha256) == data


def test_invalid_sequences_are_counted_and_said(actor: Actor, team: Team) -> None:
    context = take(actor, team, b"a" * 500 + b"\xff\xfe" + b"b" * 500)
    assert context.note == "2 invalid UTF-8 sequences are shown to the code as U+FFFD."


def test_a_character_cut_by_two_chunks_is_valid(actor: Actor, team: Team) -> None:
    first, second = "x" * 100 + "é" + "y" * 100, "…"
    data = (first + second).encode()
    context = take(actor, team, data[:101], data[101:-1], data[-1:])
    assert (context.kind, context.note) == ("text", "")


@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=5))
def test_the_count_of_invalid_sequences_does_not_depend_on_the_chunks(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    watcher = Watcher(data[start:end] for start, end in itertools.pairwise(edges))
    assert b"".join(watcher) == data
    try:
        data.decode()
    except UnicodeDecodeError:
        expected = data.decode("utf-8", "replace").count("\ufffd")
        # Characters U+FFFD before the first mistake are known to be meant.
        assert 0 < watcher.invalid <= expected
    else:
        assert watcher.invalid == 0


@pytest.mark.parametrize(("kind", "note"), [("bytes", "valid text"), ("text", "")])
def test_the_users_choice_of_a_kind_wins(actor: Actor, team: Team, kind: str, note: str) -> None:
    context = take(actor, team, b"[1, 2]", kind=kind)
    assert context.kind == kind
    assert note in context.note


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [(b"", "", "empty"), (b"{", "json", "not JSON"), (b"x", "picture", "not 'picture'")],
)
def test_what_cannot_be_taken_is_refused_with_a_reason(
    actor: Actor, team: Team, data: bytes, kind: str, message: str
) -> None:
    with pytest.raises(ContextError, match=message):
        take(actor, team, data, kind=kind)
    assert not Context.objects.filter(team=team).exists()


def test_a_context_above_the_limit_is_refused_while_it_comes(actor: Actor, team: Team, settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 10
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"12345"

    with pytest.raises(ContextError, match="RLMWEB_UPLOAD_MAX_BYTES"):
        context_from_chunks(endless(), actor=actor, team=team, name="x", source="upload")
    assert asked == 3
    assert list(blob_folder().glob("put-*")) == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [("../../etc/passwd", "passwd"), ("C:\\Users\\me\\notes.txt", "notes.txt"), ("a\x00b\n", "a␀b"), ("", "context")],
)
def test_a_name_from_elsewhere_is_only_a_name(actor: Actor, team: Team, given: str, kept: str) -> None:
    assert take(actor, team, b"x", name=given).name == kept


def test_taking_a_context_is_audited_without_its_content(actor: Actor, team: Team) -> None:
    context = context_from_text("a secret", actor=actor, team=team)
    entry = AuditEntry.objects.get(object_id=str(context.uuid))
    assert (entry.action, entry.actor, entry.source) == ("context.create", actor.name, "test")
    assert "secret" not in str(entry.details)


# From the server's own files


def test_a_file_of_an_allowed_folder_is_taken(actor: Actor, team: Team, settings: Any, tmp_path: Path) -> None:
    settings.CONTEXT_PATHS = (tmp_path,)
    (tmp_path / "notes.txt").write_text("words")
    context = context_from_path(str(tmp_path / "notes.txt"), actor=actor, team=team)
    assert (context.name, context.source, context.size_bytes) == ("notes.txt", "path", 5)


def test_files_outside_and_links_that_lead_outside_are_refused(
    actor: Actor, team: Team, settings: Any, tmp_path: Path
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (inside / "link").symlink_to(outside / "secret")
    settings.CONTEXT_PATHS = (inside,)
    for path in ("link", "../outside/secret", "missing/../../outside/secret"):
        with pytest.raises(ContextError, match="these folders only"):
            context_from_path(str(inside / path), actor=actor, team=team)
    for path in ("", "missing"):
        with pytest.raises(ContextError, match="not a file"):
            context_from_path(str(inside / path), actor=actor, team=team)
    with pytest.raises(ContextError):
        context_from_path("\0", actor=actor, team=team)


# From the web


class Pages(http.server.BaseHTTPRequestHandler):
    """`/text` answers; `/away` redirects; `/long` never stops; `/no` refuses."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.send_response({"/away": 302, "/no": 404}.get(path, 200))
        if path == "/away":
            self.send_header("Location", "/text")
        self.end_headers()
        if path == "/text":
            self.wfile.write(b"from the web")
        while path == "/long":
            try:
                self.wfile.write(b"x" * 65536)
            except OSError:
                return

    def log_message(self, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[str]:
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    yield f"127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_an_allowed_address_is_fetched(actor: Actor, team: Team, settings: Any, server: str) -> None:
    settings.CONTEXT_HOSTS = (server,)
    context = context_from_url(f"http://{server}/text?version=2", actor=actor, team=team)
    assert (context.name, context.source, context.size_bytes) == ("text", "url", 12)


@pytest.mark.parametrize(
    ("path", "message"),
    [("/away", "redirect"), ("/no", "status 404"), ("/long", "more than 100,000 bytes"), ("/#x", "fragment")],
)
def test_addresses_that_do_not_give_one_file_are_refused(
    actor: Actor, team: Team, settings: Any, server: str, path: str, message: str
) -> None:
    settings.CONTEXT_HOSTS = (server,)
    settings.UPLOAD_MAX_BYTES = 100_000
    with pytest.raises(ContextError, match=message):
        context_from_url(f"http://{server}{path}", actor=actor, team=team)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/latest",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://allowed.example@evil.example/x",
        "https://api.openai.com/v1/models",
        "http://[::1",
        "",
    ],
)
def test_other_addresses_are_never_asked(actor: Actor, team: Team, settings: Any, url: str) -> None:
    settings.CONTEXT_HOSTS = ("allowed.example",)
    with pytest.raises(ContextError, match=r"RLMWEB_CONTEXT_HOSTS|cannot be read"):
        context_from_url(url, actor=actor, team=team)


# Examples and previews


def test_an_example_is_built_with_its_question_and_answer(actor: Actor, team: Team) -> None:
    context, built = context_from_example("s-niah", actor=actor, team=team, seed=3, size_bytes=20_000)
    assert context.source == "example"
    assert abs(context.size_bytes - 20_000) < 2_000
    assert built.question
    assert built.check(built.answer).correct


@pytest.mark.parametrize(("slug", "size"), [("nothing-like-that", None), ("s-niah", 5)])
def test_an_example_that_cannot_be_built_says_why(actor: Actor, team: Team, slug: str, size: int | None) -> None:
    with pytest.raises(ContextError, match=r"example|bytes"):
        context_from_example(slug, actor=actor, team=team, size_bytes=size)


def test_a_preview_is_short_and_readable(actor: Actor, team: Team) -> None:
    long = preview_of(take(actor, team, b"0123456789" * 1000))
    assert long.more
    assert len(long.text) == 4096
    binary = preview_of(take(actor, team, b"\x00\x01ABC"))
    assert binary.text.split("  ")[0] == "00000000"
    assert binary.text.endswith("..ABC")
