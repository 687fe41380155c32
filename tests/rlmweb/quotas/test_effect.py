"""What a limit would have done, told from the ledger; and the words in which it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from rlmweb.quotas.booking import Amount, Entry, book, ends_at, starts_on
from rlmweb.quotas.effect import Effect, effect_of
from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.resources import UnknownResource, gpu_resource, resource_named
from rlmweb.quotas.scopes import WHOLE, Scope, by_kind
from rlmweb.quotas.services import record_use, release, reserve

TEAM = Scope("team", uuid4())


def effect(resource: str, limit: int, period: str = "day", scope: Scope = TEAM) -> tuple[int | None, int]:
    found = effect_of(scope, resource, limit, period, "pause", now=timezone.now())
    return found.hit, found.sessions


@pytest.mark.django_db
def test_sessions_that_went_past_the_limit_are_counted_once() -> None:
    sessions = [uuid4() for _ in range(4)]
    for session in (*sessions, sessions[3]):
        record_use([WHOLE, TEAM], {"cost_micro_usd": 100}, session=session)
    record_use([WHOLE, Scope("team", uuid4())], {"cost_micro_usd": 10_000}, session=uuid4())
    assert effect("cost_micro_usd", 500) == (0, 4)
    assert effect("cost_micro_usd", 499) == (1, 4)
    assert effect("cost_micro_usd", 250, "month") == (2, 4)
    assert effect("cost_micro_usd", 0) == (4, 4)
    assert effect("cost_micro_usd", 10_300, scope=WHOLE) == (1, 5)


@pytest.mark.django_db
def test_each_day_is_counted_by_itself() -> None:
    today = timezone.now().date()
    for ago in range(3):
        entry = Entry("settle", uuid4(), today - timedelta(days=ago), uuid4())
        book([WHOLE, TEAM], {"sessions": Amount(used=3)}, entry, strict=False)
    assert effect("sessions", 3) == (0, 3)
    assert effect("sessions", 2) == (3, 3)


@pytest.mark.django_db
def test_of_a_level_what_was_held_at_once_counts() -> None:
    for n in range(3):
        first = reserve([WHOLE, TEAM], {"concurrent_sandboxes": 1}, holder=f"a{n}", session=uuid4())
        release(first.uuid)
    for n in range(2):
        reserve([WHOLE, TEAM], {"concurrent_sandboxes": 1}, holder=f"b{n}", session=uuid4())
    assert effect("concurrent_sandboxes", 1, "none") == (1, 5)
    assert effect("concurrent_sandboxes", 2, "none") == (0, 5)


@pytest.mark.django_db
def test_what_the_ledger_cannot_tell_is_not_told() -> None:
    assert effect("nodes_per_session", 1, "none") == (None, 0)
    assert "not known" in str(Effect(None, 0, "stop"))
    assert str(Effect(3, 12, "stop")) == "3 of 12 sessions of last week would have been ended or not started."


def refusal(**fields: object) -> str:
    facts: dict[str, object] = {
        "limit": 2_000_000,
        "used": 1_500_000,
        "requested": 750_000,
        "period": "month",
        "resets_at": datetime(2026, 12, 1, tzinfo=UTC),
        "on_exceed": "pause",
        **fields,
    }
    scope = facts.pop("scope", TEAM)
    resource = facts.pop("resource", "cost_micro_usd")
    return str(QuotaExceeded(scope, resource, **facts))  # type: ignore[arg-type]


def test_a_refusal_says_what_is_used_and_what_to_do() -> None:
    assert refusal() == (
        "Cost of model calls of the team: 2 USD a month allowed, 1.50 USD used or reserved, 0.75 USD more asked for."
        " Wait until 2026-12-01 00:00 UTC, or ask an administrator to raise the limit (page Quotas)."
    )
    assert "ask for less" in refusal(requested=2_000_001)
    slots = refusal(resource="concurrent_sandboxes", limit=2, used=2, requested=1, period="none", resets_at=None)
    assert "Wait until a sandbox ends" in slots
    assert "1.50" not in refusal(scope=WHOLE)


@pytest.mark.parametrize("name", ["", "money", "gpu_ms:", "gpu_ms:<b>", "gpu_ms:" + "x" * 33, "gpu_ms: H100"])
def test_only_listed_resources_are_counted(name: str) -> None:
    with pytest.raises(UnknownResource):
        resource_named(name)


@pytest.mark.parametrize(
    ("gpu", "name"), [("H100", "gpu_ms:H100"), ("<A 100>", "gpu_ms:A-100-"), ("", "gpu_ms:unknown")]
)
def test_whatever_a_provider_calls_a_gpu_it_is_counted(gpu: str, name: str) -> None:
    assert gpu_resource(gpu) == name
    assert resource_named(name).kind == "flow"


def test_what_is_used_counts_for_one_of_each_kind() -> None:
    with pytest.raises(ValueError, match="Two scopes"):
        by_kind([TEAM, Scope("team", uuid4())])


def test_periods_begin_and_end_in_utc() -> None:
    day = datetime(2026, 12, 31, tzinfo=UTC).date()
    assert ends_at("month", day) == ends_at("day", day) == datetime(2027, 1, 1, tzinfo=UTC)
    assert str(starts_on("month", day)) == "2026-12-01"
    assert ends_at("none", day) is None
