"""The catalogue's pages: filters, a team's own rows, exports, and who gets in."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse
from plotly.graph_objects import Figure

from rlmweb.audit.models import AuditEntry
from sandboxes.catalogue.claims import shipped
from sandboxes.catalogue.models import CatalogueRow, ProviderMeasurement
from tests.cast import SIGNED_IN, Cast, make_cast

pytestmark = pytest.mark.django_db
PAGES = ("catalogue", "catalogue_figure")
GPU = "Sandboxes with a GPU"


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def page(cast: Cast, who: str = "lead", **asked: Any) -> Any:
    return cast.client(who).get(reverse("sandboxes:catalogue"), asked)


def columns(response: Any) -> list[str]:
    return [name for name, _ in response.context["table"].providers]


def add(cast: Cast, who: str = "lead", provider: str = "e2b", **changes: Any) -> Any:
    fields = {
        "team": cast.team.slug,
        "capability_key": "gpu",
        "claim_text": GPU,
        "value": "one for us, by contract",
        "status": "confirmed",
        "support": "limited",
        "as_of": "2026-11-01",
        "source": "https://contracts.example/42",
        **changes,
    }
    return cast.client(who).post(reverse("sandboxes:catalogue_row_add", args=[provider]), fields)


def measure(**changes: Any) -> None:
    fields = {"provider": "modal", "operation": "create", "ms": 100.0, "source": "session", **changes}
    ProviderMeasurement.objects.create(**fields)


@pytest.mark.parametrize("name", SIGNED_IN)
def test_everybody_who_is_signed_in_sees_it(cast: Cast, name: str) -> None:
    for address in (
        *(reverse(f"sandboxes:{each}") for each in PAGES),
        reverse("sandboxes:catalogue_provider", args=["modal"]),
    ):
        assert cast.client(name).get(address).status_code == 200
        assert cast.client("anonymous").get(address)["Location"] == f"/login/?next={address}"


def test_every_shipped_row_is_on_the_page_with_its_day_and_nothing_is_inline(cast: Cast) -> None:
    response = page(cast)
    assert columns(response) == ["modal", "e2b", "daytona", "northflank", "blaxel", "runloop", "cloudflare", "local"]
    assert len(response.context["table"].shown) == len(shipped())
    text = response.content.decode()
    assert 'datetime="2026-06-25"' in text
    assert 'href="https://github.com/daytonaio/daytona"' in text
    assert " style=" not in text
    assert "<style" not in text


def test_a_need_leaves_out_who_does_not_meet_it_and_says_why(cast: Cast) -> None:
    response = page(cast, need=["gpu", "memory_snapshot"])
    assert columns(response) == ["modal", "daytona"]
    left_out = {
        each.provider: [row.capability_key for row in each.unmet] for each in response.context["table"].left_out
    }
    assert left_out["e2b"] == ["gpu"]
    assert left_out["northflank"] == ["memory_snapshot"]
    assert [row.key for row in response.context["table"].rows][:2] == ["gpu", "memory_snapshot"]
    assert "VM class only" in response.content.decode()


def test_a_status_leaves_only_such_rows(cast: Cast) -> None:
    shown = page(cast, status="stale").context["table"].shown
    assert {row.provider for row in shown} == {"e2b", "daytona", "cloudflare"}
    assert page(cast, need="gpu", status="stale").status_code == 200


@pytest.mark.parametrize("asked", [{"need": "teleport"}, {"status": "true"}, {"need": "<script>"}])
def test_what_the_catalogue_does_not_have_is_refused_with_what_it_has(cast: Cast, asked: dict[str, str]) -> None:
    response = page(cast, **asked)
    assert response.status_code == 422
    assert "Choose of:" in response.content.decode()
    assert "<script>" not in response.content.decode()


def test_a_correction_stands_beside_the_shipped_row_and_counts_for_needs(cast: Cast) -> None:
    assert add(cast).status_code == 302
    response = page(cast, need="gpu")
    assert "e2b" in columns(response)
    cell = next(cell for cell in response.context["table"].rows[0].cells if cell.provider == "e2b")
    assert [(row.value, row.by, row.corrects) for row in cell.answers] == [
        ("none", "", False),
        ("one for us, by contract", cast.people["lead"].get_username(), True),
    ]
    entry = AuditEntry.objects.get(action="catalogue_row.add")
    assert (entry.details["provider"], entry.details["value"]) == ("e2b", "one for us, by contract")
    assert "e2b" not in columns(page(cast, "stranger", need="gpu"))
    assert page(cast, "stranger", team=cast.team.slug).status_code == 404


def test_a_row_of_ones_own_about_another_topic(cast: Cast) -> None:
    assert add(cast, capability_key="customers", claim_text="Our bank uses it", support="").status_code == 302
    text = cast.client("viewer").get(reverse("sandboxes:catalogue_provider", args=["e2b"])).content.decode()
    assert "Our bank uses it" in text
    assert "added by" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": ""}, "required"),
        ({"source": ""}, "required"),
        ({"status": "true"}, "valid choice"),
        ({"capability_key": "teleport"}, "valid choice"),
        ({"as_of": (date.today() + timedelta(days=2)).isoformat()}, "has not come"),
        ({"value": "x" * 501}, "at most 500"),
        ({"note": "a\x07bell"}, "without control characters"),
    ],
)
def test_a_row_that_is_not_well_formed_is_refused(cast: Cast, changes: dict[str, str], message: str) -> None:
    response = add(cast, **changes)
    assert response.status_code == 422
    assert message in response.content.decode()
    assert not CatalogueRow.objects.exists()


@pytest.mark.parametrize("name", SIGNED_IN)
def test_who_may_add_and_remove(cast: Cast, name: str) -> None:
    may = name in ("lead", "admin", "owner")
    assert add(cast, name).status_code == (302 if may else 404)
    add(cast, "owner")
    row = CatalogueRow.objects.first()
    assert row is not None
    response = cast.client(name).post(reverse("sandboxes:catalogue_row_remove", args=[row.uuid]))
    assert response.status_code == (302 if may else 404)
    assert CatalogueRow.objects.filter(pk=row.pk).exists() is not may
    assert cast.client(name).post(reverse("sandboxes:catalogue_row_remove", args=[uuid4()])).status_code == 404


def test_what_is_not_there_is_not_found(cast: Cast) -> None:
    client = cast.client("lead")
    assert client.get(reverse("sandboxes:catalogue_provider", args=["nobody"])).status_code == 404
    assert client.get(reverse("sandboxes:catalogue_export", args=["catalogue.xlsx"])).status_code == 404
    assert add(cast, provider="nobody").status_code == 404


def test_a_source_becomes_a_link_only_with_a_scheme_of_the_web(cast: Cast) -> None:
    add(cast, source="javascript:alert(1)", claim_text='"><script>alert(1)</script>')
    text = page(cast).content.decode()
    assert 'href="javascript' not in text
    assert "<script>alert" not in text


def test_exports_hold_what_the_page_shows_and_no_formula(cast: Cast) -> None:
    add(cast, value='=HYPERLINK("https://evil.example")')
    measure()
    client = cast.client("lead")
    plain = client.get(reverse("sandboxes:catalogue_export", args=["catalogue.json"]), {"need": "gpu"}).json()
    assert {row["provider"] for row in plain["claims"]} == {"modal", "e2b", "daytona", "northflank", "runloop", "local"}
    assert plain["measurements"][0]["p50_ms"] == 100.0
    table = client.get(reverse("sandboxes:catalogue_export", args=["catalogue.csv"]))
    rows = list(csv.DictReader(io.StringIO(table.content.decode())))
    assert len(rows) == len(shipped()) + 1
    assert '\'=HYPERLINK("https://evil.example")' in [row["value"] for row in rows]
    measured = client.get(reverse("sandboxes:catalogue_export", args=["measurements.csv"])).content.decode()
    assert measured.splitlines()[1].startswith("modal,create,session,")


def test_without_measurements_the_page_says_how_to_measure(cast: Cast) -> None:
    assert "manage.py bench providers" in page(cast).content.decode()
    measure(source="loopback")
    text = page(cast).content.decode()
    assert "Nothing was measured in the last 90 days" in text
    assert "Against test servers on this machine" in text


def test_measurements_of_test_servers_are_never_in_the_figure(cast: Cast) -> None:
    for ms in (100.0, 200.0, 300.0):
        measure(ms=ms, region="us-east")
    measure(ms=1.0, source="loopback")
    measure(ms=5.0, error="CapacityUnavailable", region="us-east")
    drawn = cast.client("viewer").get(reverse("sandboxes:catalogue_figure")).json()
    figure = Figure(drawn)  # raises on what Plotly does not know
    assert [(trace.name, trace.y, trace.error_y.array) for trace in figure.data] == [
        ("Modal, us-east", (200.0,), (90.0,))
    ]
    summary = page(cast).context["measured"][0]
    assert (summary.n, summary.failed, summary.p50_ms, summary.p95_ms) == (3, 1, 200.0, 290.0)
