"""The page of a snapshot: what the manifest says, who may what, and what it does when there is nothing to show."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from runs.events.types import SnapshotFailed
from runs.models import Step
from sandboxes.manifest import Dropped, FileState
from sandboxes.models import Snapshot
from tests.cast import SEES, SIGNED_IN, Cast, make_cast
from tests.recorded import record_events
from tests.snapshotted import make_node, make_snapshot, variable

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>\u202e\x00\x1b[31m"


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def address(cast: Cast, step: int = 1, node: int = 0, more: str = "") -> str:
    return f"/sessions/{cast.session.uuid}/nodes/{node}/steps/{step}/snapshot/{more}"


def page(cast: Cast, name: str = "researcher", **place: Any) -> str:
    response = cast.client(name).get(address(cast, **place))
    assert response.status_code == 200
    return response.content.decode()


def two_steps(cast: Cast) -> list[Snapshot]:
    node = make_node(cast.session, steps=3)
    dropped = [
        Dropped(name="gen", type="generator", reason="a generator that runs cannot be saved"),
        Dropped(name="big/data.bin", reason="larger than 1 GB"),
    ]
    files = [FileState(path="notes.txt", size_bytes=11), FileState(path="out", kind="dir")]
    first = [variable("rows", [1, 2]), variable("gone", 1), variable("same", "x")]
    second = [variable("rows", [1, 2, 3]), variable("same", "x"), variable("total", 6)]
    second.append(variable("gen", 0, digest="", type="generator"))
    return [
        make_snapshot(node, 1, first),
        make_snapshot(node, 2, second, manifest={"dropped": dropped, "files": files, "modules": {"np": "numpy"}}),
    ]


@pytest.mark.parametrize("name", SIGNED_IN)
def test_a_state_is_for_the_team(cast: Cast, name: str) -> None:
    two_steps(cast)
    client = cast.client(name)
    expected = 200 if name in SEES else 404
    assert client.get(address(cast)).status_code == expected
    assert client.get(address(cast, more="timeline/?name=rows")).status_code == expected


@pytest.mark.parametrize("more", ["evaluate/", "diff/", "download/"])
def test_what_runs_code_is_for_those_who_may_start(cast: Cast, more: str) -> None:
    two_steps(cast)
    fields = {"code": "", "name": "nope", "form": "json"}
    for name in ("viewer", "auditor", "stranger", "superuser"):
        assert cast.client(name).post(address(cast, more=more), fields).status_code == 404
    assert cast.client("mate").post(address(cast, more=more), fields).status_code in (404, 422)
    assert cast.client("mate").get(address(cast, more=more)).status_code == 405
    anonymous = cast.client("anonymous").post(address(cast, more=more), fields)
    assert anonymous.status_code == 302


def test_a_viewer_reads_and_is_offered_nothing_that_runs(cast: Cast) -> None:
    two_steps(cast)
    shown = page(cast, "viewer", step=2)
    assert "rows" in shown
    assert "data-evaluate-form" not in shown
    assert "Download" not in shown
    assert "Fork from here" not in shown
    assert "Fork from here" in page(cast, "mate", step=2)


def test_the_page_says_what_changed_since_the_step_before(cast: Cast) -> None:
    two_steps(cast)
    response = cast.client("researcher").get(address(cast, step=2))
    rows = {row.name: row.change for row in response.context["state"].rows}
    assert rows == {
        "rows": "changed",
        "total": "added",
        "gen": "added",
        "np": "added",
        "gone": "deleted",
        "same": "unchanged",
    }
    shown = response.content.decode()
    assert "5 changed since step 1" in shown
    assert "[1, 2, 3]" in shown
    assert "not held: a generator that runs cannot be saved" in shown
    assert "notes.txt" in shown
    assert "larger than 1 GB" in shown
    assert "3.11.7" in shown
    assert 'rel="prev"' in shown
    assert 'rel="next"' not in shown


def test_names_are_filtered(cast: Cast) -> None:
    two_steps(cast)
    shown = page(cast, step=2, more="?q=TOT")
    assert 'data-name="total"' in shown
    assert 'data-name="rows"' not in shown
    assert "No name holds" in page(cast, step=2, more="?q=zzz")


def test_a_timeline_is_a_strip_of_steps(cast: Cast) -> None:
    two_steps(cast)
    strip = page(cast, step=2, more="timeline/?name=rows")
    assert 'class="point added"' in strip
    assert 'class="point changed"' in strip
    assert f'href="{address(cast, step=1)}?variable=rows"' in strip
    assert strip.count('aria-current="step"') == 1


def test_hostile_names_and_values_are_shown_and_do_nothing(cast: Cast) -> None:
    node = make_node(cast.session)
    states = [
        variable(HOSTILE, 1),
        variable("x" * 200, 10**300),
        variable("value", HOSTILE, preview=HOSTILE * 5, type=HOSTILE, size=HOSTILE),
        variable("a'b\"c", ""),
        variable("{{ name }}", "{% csrf_token %}"),
    ]
    dropped = [Dropped(name=HOSTILE, reason=HOSTILE)]
    make_snapshot(node, 1, states, dropped=[], manifest={"dropped": dropped, "files": [FileState(path=HOSTILE)]})
    shown = page(cast)
    assert "<script>alert" not in shown
    seen = re.sub(r'<input type="hidden"[^>]*>', "", shown)
    assert "\u202e" not in seen
    assert "\x00" not in seen
    assert "⟨U+202E⟩" in shown
    assert "{{ name }}" in shown
    assert "<script>alert" not in page(cast, more=f"timeline/?name={HOSTILE[:25]}")


def test_ten_thousand_variables_are_not_all_drawn(cast: Cast) -> None:
    make_snapshot(make_node(cast.session), 1, [variable(f"v{n}", n) for n in range(10_000)])
    shown = page(cast)
    assert shown.count("data-name=") == 500
    assert "9500 more names" in shown or "9,500 more names" in shown
    assert 'data-name="v9999"' in page(cast, more="?q=v9999")


def test_a_step_without_a_snapshot_says_why_and_shows_the_ways_out(cast: Cast) -> None:
    two_steps(cast)
    record_events(cast.session, SnapshotFailed(node=0, step=3, reason="the sandbox was killed"))
    shown = page(cast, step=3)
    assert "There is no snapshot of this step" in shown
    assert "the sandbox was killed" in shown
    assert "Step 2, before it" in shown
    Step.objects.filter(number=3).update(status=Step.Status.RUNNING)
    assert "The step has not ended" in page(cast, step=3)


def test_a_snapshot_that_was_given_up_keeps_its_facts(cast: Cast) -> None:
    _, second = two_steps(cast)
    Snapshot.objects.filter(pk=second.pk).update(collected_at=timezone.now())
    shown = page(cast, step=2)
    assert "This snapshot cannot be restored" in shown
    assert str(second.uuid) in shown
    assert "given up on" in shown
    assert "Step 1, before it" in shown
    response = cast.client("mate").post(address(cast, 2, more="evaluate/"), {"code": "1"}, headers=JSON)
    assert (response.status_code, response.json()["type"]) == (409, "snapshot_unusable")
    assert str(second.uuid) in response.json()["message"]


def test_a_manifest_that_is_gone_or_broken_is_named(cast: Cast) -> None:
    _, second = two_steps(cast)
    Snapshot.objects.filter(pk=second.pk).update(manifest_sha256="0" * 64)
    shown = page(cast, step=2)
    assert "This snapshot cannot be restored" in shown
    assert str(second.uuid)[:8] in shown


def test_what_is_not_there_is_404(cast: Cast) -> None:
    two_steps(cast)
    for step, node in ((9, 0), (1, 5), (0, 0), (10**30, 0), (1, 10**30)):
        assert cast.client("lead").get(address(cast, step, node)).status_code == 404
    other = f"/sessions/{uuid4()}/nodes/0/steps/1/snapshot/"
    assert cast.client("lead").get(other).status_code == 404


JSON = {"Accept": "application/json"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"code": "  "}, "nothing to evaluate"),
        ({"code": "1", "timeout_s": "never"}, "not a number"),
        ({"code": "1", "timeout_s": "nan"}, "time limit"),
        ({"code": "1", "timeout_s": "1e9"}, "time limit"),
        ({"code": "x" * 100_001}, "the most is 100,000"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_any_sandbox(cast: Cast, fields: dict[str, str], words: str) -> None:
    two_steps(cast)
    response = cast.client("mate").post(address(cast, 2, more="evaluate/"), fields, headers=JSON)
    assert response.status_code == 422
    assert words in response.json()["message"]


def test_a_variable_that_is_not_held_cannot_be_had(cast: Cast) -> None:
    two_steps(cast)
    client = cast.client("mate")
    for more in ("diff/", "download/"):
        fields = {"name": "gen", "form": "json"}
        response = client.post(address(cast, 2, more=more), fields, headers=JSON)
        assert (response.status_code, response.json()["type"]) == (409, "variable_not_held")
        assert "a generator that runs" in response.json()["message"]
        response = client.post(address(cast, 2, more=more), {**fields, "name": "gone"}, headers=JSON)
        assert (response.status_code, response.json()["type"]) == (404, "variable_absent")
    response = client.post(address(cast, 2, more="diff/"), {"name": "same"}, headers=JSON)
    assert response.status_code == 422
    response = client.post(address(cast, 2, more="download/"), {"name": "rows", "form": "exe"}, headers=JSON)
    assert response.status_code == 422


def test_a_refusal_is_said_in_the_form_that_was_asked_for(cast: Cast) -> None:
    two_steps(cast)
    client, fields = cast.client("mate"), {"name": "gen", "form": "json"}
    page = client.post(address(cast, 2, more="download/"), fields, headers={"Accept": "text/html"})
    assert page.status_code == 409
    assert "Back to the variables" in page.content.decode()
    part = client.post(address(cast, 2, more="diff/"), fields, headers={"HX-Request": "true"})
    assert part.status_code == 200
    assert part.content.decode().startswith("\n<p class") or "<p class" in part.content.decode()
    assert "<html" not in part.content.decode()
