"""A session whose contents are in an object store: snapshots, a fork on another machine, and a store that goes away."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runs.blobs import BlobStoreUnavailable, blob_store
from runs.blobs.s3 import S3Store
from runs.models import BlobUse, Session, Step
from runs.replay.inspect.states import usable_state
from runs.services.snapshots.reading import require_snapshot
from runs.services.snapshots.scratch import open_scratch
from tests.objectstore import KEYS, ObjectServer, forget_stores
from tests.runs.replay.forks.test_starting import fork
from tests.runs.services.inline import run_to_end, run_until
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)
CELLS = ("x = list(range(50_000))\ntext = context * 3", "x.append('more')", "y = len(x)")


@pytest.fixture(autouse=True)
def bucket(object_server: ObjectServer, settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.DATA_DIR = tmp_path / "data"  # no copies of contexts from other tests
    settings.BLOB_DIR = tmp_path / "never"
    settings.BLOB_CACHE_DIR = tmp_path / "cache"
    settings.BLOB_STORE_URL = object_server.bucket("rlmweb/").url
    settings.BLOB_STORE_ACCESS_KEY, settings.BLOB_STORE_SECRET_KEY = KEYS.access_key, KEYS.secret_key
    yield
    forget_stores()


def another_machine(settings: Any) -> None:
    """Nothing of what was stored is on this disk or in this process."""
    forget_stores()
    shutil.rmtree(settings.BLOB_CACHE_DIR)
    shutil.rmtree(settings.DATA_DIR / "contexts")


def test_a_session_its_snapshots_and_a_fork(settings: Any) -> None:
    source = run_cells(*CELLS)
    assert source.status == Session.Status.FINISHED, source.error_message
    store = blob_store()
    assert isinstance(store, S3Store)
    used = set(BlobUse.objects.filter(session=source).values_list("sha256", flat=True))
    assert used
    assert used <= {each.sha256 for each in store.iterate()}
    assert not settings.BLOB_DIR.exists()
    another_machine(settings)
    with open_scratch(require_snapshot(source, 0, 2)) as box:
        assert box.evaluate("len(x), x[-1], text == context * 3").value == "(50001, 'more', True)"
    session = run_to_end(fork(source, 2))
    assert session.status == Session.Status.FINISHED, session.error_message
    assert session.answer == source.answer
    assert usable_state(session, 0, 3).manifest is not None
    with open_scratch(require_snapshot(session, 0, 3)) as box:
        assert box.evaluate("y, len(x)").value == "(50001, 50001)"


def test_a_store_that_goes_away_and_comes_back_costs_a_step_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = run_cells("x = 1", "y = 2")
    store = blob_store()
    put = store.put
    failed: list[bytes] = []

    def failing(data: bytes) -> Any:
        if len(failed) < 3:
            failed.append(data)
            raise BlobStoreUnavailable("it went away")
        return put(data)

    session = fork(source, 1)
    monkeypatch.setattr("runs.services.execution.STORE_RETRY_DELAY_S", 0.0)
    monkeypatch.setattr(store, "put", failing)

    def over() -> bool:
        session.refresh_from_db()
        return session.status != Session.Status.RUNNING

    run_until(over)
    assert len(failed) == 3
    assert session.status == Session.Status.FINISHED, session.error_message
    assert session.answer == source.answer
    assert not Step.objects.filter(node__session=session, crashes__gt=0).exists()
