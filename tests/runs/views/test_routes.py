"""Every page against everybody: who gets in, who gets nothing, and that no route was forgotten."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.cast import KEEPS_KEYS, SEES, SIGNED_IN, STARTS, Cast, make_cast

pytestmark = pytest.mark.django_db

FOR_EVERYBODY = (
    "session_list",
    "session_rows",
    "status",
    "model_status",
    "docs",
    "docs_events",
    "docs_protocol",
    "docs_catalogue",
    "docs_api",
)
FOR_STARTERS = ("session_new", "session_import")
FOR_KEYS = ("keys", "providers")
OF_A_SESSION = ("session", "session_spending", "session_spending_figure", "session_quotas")
ELSEWHERE = {
    "first": "test_sessions.py",
    "session_events": "tests/streaming",
    "session_blob": "tests/streaming",
    "session_stop": "test_sessions.py",
    "example_preview": "test_start.py",
    "upload_begin": "test_uploading.py",
    "upload_part": "test_uploading.py",
    "upload_finish": "test_uploading.py",
    "upload_cancel": "test_uploading.py",
    "context_preview": "test_uploading.py",
    "overview_first": "test_overview.py",
    "overview": "test_overview.py",
    "overview_file": "test_overview.py",
    "key_delete": "test_keys.py",
    "providers_fit": "test_providers.py",
    "provider_order": "test_providers.py",
    "attestation_add": "test_providers.py",
    "attestation_remove": "test_providers.py",
    "account_save": "test_providers.py",
    "account_check": "test_providers.py",
    "account_remove": "test_providers.py",
    "token_new": "test_keys.py",
    "token_revoke": "test_keys.py",
    "compare": "test_compare.py",
    "reexecution_new": "test_reexecution.py",
    "reexecution": "test_reexecution.py",
    "reexecution_stop": "test_reexecution.py",
    "fork_new": "test_fork.py",
    "fork_changes": "test_fork.py",
    "lineage": "test_fork.py",
    "shares": "test_shares.py",
    "share_revoke": "test_shares.py",
    "shares_revoke": "test_shares.py",
    "shared": "test_shares.py",
    "shared_open": "test_shares.py",
    "shared_events": "test_shares.py",
    "shared_blob": "test_shares.py",
    "robots": "test_shares.py",
    "session_archive": "test_archive.py",
    "import": "test_archive.py",
    "import_finish": "test_archive.py",
    "import_stop": "test_archive.py",
    "rollout_new": "test_rollout.py",
    "rollout": "test_rollout.py",
    "rollout_figure": "test_rollout.py",
    "rollout_stop": "test_rollout.py",
    "rollout_export": "test_rollout.py",
    "session_rollouts": "test_rollout.py",
    "store": "test_store.py",
    "store_runs": "test_store.py",
    "store_collect": "test_store.py",
    "session_pin": "test_store.py",
    "session_delete": "test_store.py",
    "snapshot_pin": "test_store.py",
    "snapshot": "test_snapshot.py",
    "snapshot_timeline": "test_snapshot.py",
    "snapshot_evaluate": "test_snapshot.py",
    "snapshot_diff": "test_snapshot.py",
    "snapshot_download": "test_snapshot.py",
}
"""Routes whose access is tested with what they do."""


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def test_every_route_of_the_pages_is_listed_here() -> None:
    entries = get_resolver().url_patterns
    resolver = next(entry for entry in entries if isinstance(entry, URLResolver) and entry.app_name == "runs")
    found = {entry.name for entry in resolver.url_patterns if isinstance(entry, URLPattern)}
    assert found == {*FOR_EVERYBODY, *FOR_STARTERS, *FOR_KEYS, *OF_A_SESSION, *ELSEWHERE}


@pytest.mark.parametrize("route", FOR_EVERYBODY)
@pytest.mark.parametrize("name", SIGNED_IN)
def test_pages_without_content_of_a_team_are_for_everybody(cast: Cast, route: str, name: str) -> None:
    response = cast.client(name).get(reverse(f"runs:{route}"))
    assert response.status_code == 200
    if name not in SEES:
        assert cast.session.title not in response.content.decode()


@pytest.mark.parametrize("route", FOR_STARTERS)
@pytest.mark.parametrize("name", SIGNED_IN)
def test_what_starts_a_session_is_for_those_who_may(cast: Cast, route: str, name: str) -> None:
    response = cast.client(name).get(reverse(f"runs:{route}"))
    assert response.status_code == (200 if name in STARTS else 404)


@pytest.mark.parametrize("route", FOR_KEYS)
@pytest.mark.parametrize("name", SIGNED_IN)
def test_keys_are_for_those_who_use_or_keep_them(cast: Cast, route: str, name: str) -> None:
    response = cast.client(name).get(reverse(f"runs:{route}"))
    assert response.status_code == (200 if name in {*STARTS, *KEEPS_KEYS} else 404)


@pytest.mark.parametrize("route", OF_A_SESSION)
@pytest.mark.parametrize("name", SIGNED_IN)
def test_a_session_is_for_its_team(cast: Cast, route: str, name: str) -> None:
    response = cast.client(name).get(reverse(f"runs:{route}", args=[cast.session.uuid]))
    assert response.status_code == (200 if name in SEES else 404)
    assert cast.client("lead").get(reverse(f"runs:{route}", args=[uuid4()])).status_code == 404


@pytest.mark.parametrize("route", [*FOR_EVERYBODY, *FOR_STARTERS, *FOR_KEYS])
def test_who_is_not_signed_in_is_asked_to(cast: Cast, route: str) -> None:
    address = reverse(f"runs:{route}")
    response = cast.client("anonymous").get(address)
    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={address}"


def test_a_browser_is_asked_to_sign_in_where_others_are_told_there_is_nothing(cast: Cast) -> None:
    address = reverse("runs:context_preview", args=[uuid4()])
    for path in (reverse("runs:session", args=[cast.session.uuid]), address, "/no/such/page"):
        response = cast.client("anonymous").get(path, headers={"Accept": "text/html"})
        assert response["Location"] == f"/login/?next={path}"
    assert cast.client("stranger").get(address, headers={"Accept": "text/html"}).status_code == 404


@pytest.mark.parametrize("route", [*FOR_EVERYBODY, *FOR_STARTERS, *FOR_KEYS])
def test_pages_hold_no_inline_script_or_style(cast: Cast, route: str) -> None:
    response = cast.client("lead").get(reverse(f"runs:{route}"))
    page = response.content.decode()
    policy = response["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert all("src=" in part.partition(">")[0] for part in page.split("<script")[1:])
