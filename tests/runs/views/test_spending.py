"""What a session spent: the page, the figure, who may see it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.staticfiles import finders
from django.urls import reverse
from django.utils import timezone

from runs.models import LmCall, Session
from runs.spending import MAX_POINTS, _thinned, spending_by_step
from sandboxes import services as sandbox_services
from sandboxes.models import SandboxRecord
from sandboxes.spending import sandbox_spending
from tests.factories import make_user
from tests.runs.replay.forks.test_starting import fork
from tests.runs.services.inline import run_to_end
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source() -> Session:
    session = run_cells("a = llm_query('one')\nb = llm_query('two')", "c = 1")
    LmCall.objects.filter(session=session).update(cost_micro_usd=250_000)
    return session


def test_the_figure_adds_up_cost_and_tokens_along_the_time(client: Any, source: Session) -> None:
    client.force_login(source.created_by)
    figure = client.get(reverse("runs:session_spending_figure", args=[source.uuid])).json()
    cost, tokens = figure["data"]
    assert cost["y"] == [0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.25]
    assert tokens["y"][-1] == source.meter.input_tokens + source.meter.output_tokens
    assert cost["x"] == sorted(cost["x"]) == tokens["x"]
    assert "template" not in figure["layout"]


def test_the_table_names_each_step_and_tells_inherited_ones_apart(client: Any, source: Session) -> None:
    first = spending_by_step(source)[0]
    assert (first.node, first.step, first.calls, first.cost_micro_usd, first.inherited) == (0, 1, 3, 750_000, False)
    child = run_to_end(fork(source, 1))
    rows = spending_by_step(child)
    assert [(row.step, row.inherited, row.cost_micro_usd) for row in rows] == [
        (1, True, 750_000),
        (2, False, 0),
        (3, False, 0),
    ]
    client.force_login(source.created_by)
    page = client.get(reverse("runs:session_spending", args=[child.uuid])).content.decode()
    assert page.count(">inherited<") == 1
    figure = client.get(reverse("runs:session_spending_figure", args=[child.uuid])).json()
    assert figure["data"][0]["y"][-1] == 0, "the parent's cost is not the fork's"


def test_unknown_prices_are_no_zero(client: Any, source: Session) -> None:
    LmCall.objects.filter(session=source).update(cost_micro_usd=None)
    client.force_login(source.created_by)
    page = client.get(reverse("runs:session_spending", args=[source.uuid])).content.decode()
    assert "<td>unknown</td>" in page


def test_strangers_see_nothing(client: Any, source: Session) -> None:
    client.force_login(make_user())
    for name in ("session_spending", "session_spending_figure"):
        assert client.get(reverse(f"runs:{name}", args=[source.uuid])).status_code == 404


def test_a_long_session_keeps_its_first_and_last_point() -> None:
    for count in (1, 2, MAX_POINTS, MAX_POINTS + 1, 123_457):
        places = _thinned(count)
        assert (places[0], places[-1]) == (0, count - 1)
        assert len(places) <= MAX_POINTS + 1
        assert places == sorted(set(places))


def test_the_script_is_the_one_of_the_package() -> None:
    assert finders.find("vendor/plotly.min.js")
    assert finders.find("vendor/widgetbundle.js") is None


def test_the_time_of_sandboxes_is_told_by_provider_and_type_of_gpu(client: Any, source: Session) -> None:
    SandboxRecord.objects.filter(session_uuid=source.uuid).delete()
    begun = timezone.now() - timedelta(hours=2)
    for gpu, count, rate in (
        ("H100", 2, Decimal("4.5")),
        ("H100", 2, Decimal("4.5")),
        ("L4", 1, None),
        ("", 0, Decimal("0.5")),
    ):
        row = SandboxRecord.objects.create(
            provider="northflank", ref=f"{gpu}{count}", session_uuid=source.uuid, node_uuid=uuid4(),
            gpu=gpu, gpu_count=count, usd_per_hour=rate, ended_at=begun + timedelta(hours=1),
        )  # fmt: skip
        SandboxRecord.objects.filter(pk=row.pk).update(created_at=begun)
    rows = {each.gpu: each for each in sandbox_spending(source.uuid)}
    assert (rows["H100"].sandboxes, rows["H100"].seconds, rows["H100"].gpu_s) == (2, 7200, 14400)
    assert (rows["H100"].usd, rows["L4"].usd, rows[""].usd) == (Decimal(9), None, Decimal("0.5"))
    assert (rows["L4"].gpu_s, rows[""].gpu_s) == (3600, 0)
    client.force_login(source.created_by)
    page = client.get(reverse("runs:session_spending", args=[source.uuid])).content.decode()
    assert "9 USD" in page
    assert "<td>unknown</td>" in page


def test_the_meter_counts_the_time_of_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = sandbox_services.note_created

    def with_gpus(*args: Any, **kwargs: Any) -> Any:
        opened = noted(*args, **kwargs)
        SandboxRecord.objects.filter(pk=opened.record.pk).update(gpu="H100", gpu_count=3)
        return opened

    monkeypatch.setattr(sandbox_services, "note_created", with_gpus)
    meter = run_cells("x = 1").meter
    meter.refresh_from_db()
    assert meter.gpu_ms == 3 * meter.sandbox_ms > 0
