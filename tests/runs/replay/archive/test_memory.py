"""Archives are written and read in memory that does not grow with them. The measure is the peak of a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs.access import Actor
from runs.blobs import blob_store
from runs.models import Context, Session
from runs.services.sessions import start_session
from tests.factories import make_team, make_user, scripted_config
from tests.live import ROOT, service_environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
MIB = 1024 * 1024
LARGE_BYTES = 200 * MIB
MOST_GROWTH_BYTES = 40 * MIB


def noise(size_bytes: int) -> Iterator[bytes]:
    """What cannot be compressed, so that the archive is as large."""
    for _ in range(size_bytes // MIB):
        yield os.urandom(MIB)


def make(size_bytes: int) -> Session:
    team = make_team()
    user = make_user(team)
    stored = blob_store().put_stream(noise(size_bytes))
    context = Context.objects.create(
        team=team, name="noise", kind="bytes", sha256=stored.sha256, size_bytes=stored.size_bytes
    )
    actor = Actor(user, "test")
    return start_session(actor=actor, team=team, question="?", context=context, config=scripted_config())


def peak_bytes(*arguments: object) -> int:
    """The most memory that a command of `manage.py` had."""
    command = [sys.executable, "manage.py", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, env=service_environment())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def test_a_large_context_goes_out_and_comes_in_in_little_memory(tmp_path: Path) -> None:
    peaks: dict[int, list[int]] = {}
    for size_bytes in (MIB, LARGE_BYTES):
        session, path = make(size_bytes), tmp_path / f"{size_bytes}.tar"
        assert session.created_by is not None
        who = ("--user", session.created_by.get_username())
        exporting = peak_bytes("export_session", session.uuid, "--output", path, *who)
        importing = peak_bytes("import_session", path, "--again", *who)
        assert path.stat().st_size > size_bytes
        path.unlink()
        peaks[size_bytes] = [exporting, importing]
    print("peak bytes of export and import:", peaks)  # noqa: T201
    growth = [large - small for small, large in zip(*peaks.values(), strict=True)]
    assert max(growth) < MOST_GROWTH_BYTES, peaks
