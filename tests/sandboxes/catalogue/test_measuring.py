"""Measurements are kept beside real work: they cost no query where they are made, and can fail nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from sandboxes import aio, services
from sandboxes.accounts.opening import Place
from sandboxes.catalogue import measuring
from sandboxes.catalogue.models import ProviderMeasurement
from sandboxes.catalogue.summaries import WINDOW, summaries
from sandboxes.contract import Spec
from sandboxes.errors import CapacityUnavailable

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    measuring._kept.clear()


def test_keeping_makes_no_query_and_writing_one(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        for number in range(20):
            measuring.keep("modal", "create", float(number), region="us-east")
    with django_assert_num_queries(3):  # a savepoint around one insert
        assert measuring.write_kept() == 20
    with django_assert_num_queries(0):
        assert measuring.write_kept() == 0
    (summary,) = summaries()
    assert (summary.n, summary.p50_ms, summary.region, summary.source) == (20, 9.5, "us-east", "session")


def test_what_fails_is_kept_with_the_type_of_its_error_and_goes_on_failing() -> None:
    with pytest.raises(CapacityUnavailable), measuring.measured("daytona", "create"):
        raise CapacityUnavailable("no GPU left", provider="daytona")
    measuring.write_kept()
    row = ProviderMeasurement.objects.get()
    assert (row.error, row.ms >= 0) == ("CapacityUnavailable", True)
    assert [(each.n, each.failed, each.p50_ms) for each in summaries()] == [(0, 1, None)]


def test_a_database_that_refuses_fails_nobody_and_spoils_no_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **named: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    monkeypatch.setattr(ProviderMeasurement.objects, "bulk_create", refuse)
    measuring.keep("modal", "create", 1.0)
    assert measuring.write_kept() == 0
    assert ProviderMeasurement.objects.count() == 0  # the transaction of the test goes on
    with pytest.raises(DatabaseError):
        refuse()


def test_a_database_that_is_away_fills_no_memory() -> None:
    for number in range(measuring.MOST_KEPT + 10):
        measuring.keep("modal", "create", float(number))
    assert len(measuring._kept) == measuring.MOST_KEPT
    assert measuring._kept[0].ms == 10.0


def test_old_ones_are_forgotten() -> None:
    measuring.keep("modal", "create", 1.0)
    measuring.keep("modal", "create", 2.0)
    measuring.write_kept()
    newest = ProviderMeasurement.objects.latest("ms")
    ProviderMeasurement.objects.exclude(pk=newest.pk).update(at=timezone.now() - WINDOW - timedelta(days=1))
    assert [each.n for each in summaries()] == [1]
    assert measuring.forget_old() == 1
    assert ProviderMeasurement.objects.get() == newest


def test_a_real_sandbox_is_measured_when_it_is_made_and_ended() -> None:
    from uuid import uuid4

    place = Place("local", services.local_provider())
    created = aio.run(services.create([place], Spec(), str(uuid4())), timeout_s=60)
    assert ProviderMeasurement.objects.count() == 0
    opened = services.note_created(created, session_uuid=uuid4(), node_uuid=uuid4())
    services.terminate([opened.record.ref])
    found = ProviderMeasurement.objects.order_by("at").values_list("provider", "operation", "source", "error")
    assert list(found) == [("local", "create", "session", ""), ("local", "terminate", "session", "")]
