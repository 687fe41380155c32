"""4. Files: bytes stay what they are, nothing leads out, what is missing is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandboxes import aio
from sandboxes.contract import Sandbox
from sandboxes.errors import InvalidSpec, NotFound
from tests.sandboxes.conformance.kit import TIMEOUT_S

DATA = bytes(range(256)) * 4096


def test_bytes_make_the_round_trip(sandbox: Sandbox) -> None:
    aio.run(sandbox.write_file("deep/er/ä b.bin", DATA), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.read_file("deep/er/ä b.bin", max_bytes=len(DATA)), timeout_s=TIMEOUT_S) == DATA


def test_an_empty_file_is_a_file(sandbox: Sandbox) -> None:
    aio.run(sandbox.write_file("empty", b""), timeout_s=TIMEOUT_S)
    assert aio.run(sandbox.read_file("empty", max_bytes=1), timeout_s=TIMEOUT_S) == b""


def test_large_files_go_through_files_of_the_host(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(DATA * 20)
    aio.run(sandbox.put_file("large", str(tmp_path / "source")), timeout_s=120)
    size = aio.run(sandbox.get_file("large", str(tmp_path / "target"), max_bytes=1 << 28), timeout_s=120)
    assert size == len(DATA) * 20
    assert (tmp_path / "target").read_bytes() == DATA * 20


def test_a_missing_file_is_not_an_empty_one(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        aio.run(sandbox.read_file("nothing", max_bytes=1), timeout_s=TIMEOUT_S)
    with pytest.raises(NotFound):
        aio.run(sandbox.get_file("nothing", str(tmp_path / "target"), max_bytes=1), timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a\0b", "x" * 2000])
def test_paths_do_not_lead_out(sandbox: Sandbox, path: str) -> None:
    with pytest.raises(InvalidSpec):
        aio.run(sandbox.read_file(path, max_bytes=10), timeout_s=TIMEOUT_S)
    with pytest.raises(InvalidSpec):
        aio.run(sandbox.write_file(path, b""), timeout_s=TIMEOUT_S)


def test_more_than_was_asked_for_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    aio.run(sandbox.write_file("file", DATA), timeout_s=TIMEOUT_S)
    with pytest.raises(InvalidSpec):
        aio.run(sandbox.read_file("file", max_bytes=1000), timeout_s=TIMEOUT_S)
    with pytest.raises(InvalidSpec):
        aio.run(sandbox.get_file("file", str(tmp_path / "target"), max_bytes=1000), timeout_s=TIMEOUT_S)
