"""Files of a hostile workspace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes.errors import InvalidSpec, NotFound
from sandboxes.local import files
from sandboxes.local.bubblewrap import WORKSPACE, place_inside


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "work").mkdir()
    (tmp_path / "secret").write_text("secret")
    descriptor = os.open(tmp_path / "work", os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_what_is_written_is_read(root: int) -> None:
    files.write_file(root, "a/b/c.bin", b"\x00\xff")
    files.write_file(root, "a/b/c.bin", b"again")
    assert files.read_file(root, "a/./b//c.bin", offset=1, max_bytes=3) == (b"gai", 5)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../secret", "a/../../secret", ".", "..", "a\0b", "x" * 2000])
def test_paths_that_lead_out_are_refused(root: int, path: str) -> None:
    with pytest.raises(InvalidSpec):
        files.read_file(root, path, offset=0, max_bytes=10)
    with pytest.raises(InvalidSpec):
        files.write_file(root, path, b"x")


def test_links_made_by_the_sandbox_are_not_followed(root: int, tmp_path: Path) -> None:
    os.symlink("../secret", "link", dir_fd=root)
    os.symlink("..", "folder", dir_fd=root)
    for path in ("link", "folder/secret"):
        with pytest.raises((InvalidSpec, NotFound)):
            files.read_file(root, path, offset=0, max_bytes=10)
    files.write_file(root, "link", b"replaced")  # the link is replaced, its target is not touched
    with pytest.raises((InvalidSpec, NotFound)):
        files.write_file(root, "folder/new", b"x")
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / "new").exists()


def test_what_is_not_a_file_is_refused_without_waiting(root: int) -> None:
    os.mkfifo("fifo", dir_fd=root)
    os.mkdir("folder", dir_fd=root)
    for path in ("fifo", "folder"):
        with pytest.raises(InvalidSpec, match="not a regular file"):
            files.read_file(root, path, offset=0, max_bytes=10)


def test_a_missing_file_is_not_an_empty_one(root: int) -> None:
    with pytest.raises(NotFound):
        files.read_file(root, "missing", offset=0, max_bytes=10)


def test_a_file_of_the_host_is_copied(root: int, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    assert files.copy_file(root, "in/copy", str(source)) == 3_000_000
    assert (tmp_path / "work/in/copy").read_bytes() == source.read_bytes()
    assert (tmp_path / "work/in/copy").stat().st_mode & 0o777 == 0o444
    with pytest.raises(NotFound):
        files.copy_file(root, "in/other", str(tmp_path / "missing"))


def test_a_file_of_the_workspace_is_fetched(root: int, tmp_path: Path) -> None:
    content, target = os.urandom(3_000_000), tmp_path / "target"
    files.write_file(root, "out/part", content)
    assert files.fetch_file(root, "out/part", str(target), max_bytes=3_000_000) == 3_000_000
    assert target.read_bytes() == content
    assert target.stat().st_mode & 0o777 == 0o600


def test_what_must_not_be_fetched_is_refused_and_the_target_is_not_touched(root: int, tmp_path: Path) -> None:
    files.write_file(root, "large", b"x" * 11)
    os.symlink("../secret", "link", dir_fd=root)
    os.mkfifo("fifo", dir_fd=root)
    target = tmp_path / "target"
    for path in ("large", "link", "fifo", "../secret", "missing"):
        with pytest.raises((InvalidSpec, NotFound)):
            files.fetch_file(root, path, str(target), max_bytes=10)
    assert not target.exists()


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/usr/lib", "/usr/lib"),
        (f"{WORKSPACE}/venv/bin/python", f"/python{WORKSPACE}/venv/bin/python"),
        (f"{WORKSPACE}shop", f"{WORKSPACE}shop"),
    ],
)
def test_what_a_folder_of_the_sandbox_would_cover_is_seen_elsewhere(path: str, inside: str) -> None:
    assert place_inside(path) == inside
