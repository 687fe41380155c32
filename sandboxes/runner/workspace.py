"""Files of the workspace in a snapshot: find what changed, set it aside before code goes on, write it down, bring it back.

What is found is compared by the file system's own marks, not by content. A file that changed a moment before it was
looked at could change again within the same tick of the clock, so its marks are not believed the next time.
"""

from __future__ import annotations

import os
import stat
from time import time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

RESERVED = ".rlm"
"""The protocol's own folder of the workspace: no part of a snapshot."""
MAX_ENTRIES = 10_000
MAX_FILE_BYTES = 1 << 30
BLOCK_BYTES = 256 * 1024
TICK_NS = 20_000_000
"""Longest tick of the clock that file systems mark changes with, with some room."""


class Listing:
    """The entries of the workspace at one moment, by path. `marks` is equal for as long as an entry is not changed."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        """As `FileState` in `sandboxes/manifest.py`, without the contents."""
        self.marks: dict[str, list[int]] = {}
        """Empty for an entry whose marks say nothing yet."""
        self.dropped: list[dict[str, str]] = []
        self.aside: dict[str, str] = {}
        """Copies of contents that code could change before they are written down: path to the path of the copy."""

    def differs_from(self, other: Listing) -> bool:
        """Whether anything may have changed between the two."""
        if self.marks.keys() != other.marks.keys() or self.dropped != other.dropped:
            return True
        return any(not marks or marks != other.marks[path] for path, marks in self.marks.items())


def look(root: str) -> Listing:
    """List the workspace without following links. At most `MAX_ENTRIES`; what is more is named as dropped."""
    listing = Listing()
    now = time_ns()
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as found:
                for entry in sorted(found, key=_by_name):
                    path = os.path.join(folder, entry.name)
                    if path == RESERVED:
                        continue
                    if len(listing.entries) >= MAX_ENTRIES:
                        _drop(listing, folder or ".", f"the workspace holds more than {MAX_ENTRIES} files and folders")
                        return listing
                    if _add(listing, path, entry, now) == "dir":
                        folders.append(path)
        except OSError as error:
            _drop(listing, folder, f"cannot be listed: {error.strerror}")
    return listing


def _by_name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _drop(listing: Listing, path: str, reason: str) -> None:
    listing.dropped.append({"name": _shown(path), "type": "file", "reason": reason})


def _shown(path: str) -> str:
    return path.encode("utf-8", "replace").decode()[:1000]


def _add(listing: Listing, path: str, entry: os.DirEntry[str], now_ns: int) -> str:
    """Note one entry; returns its kind, or nothing when it cannot be held."""
    try:
        info = entry.stat(follow_symlinks=False)
        state: dict[str, Any] = {"path": path, "mode": info.st_mode & 0o777, "mtime_ns": info.st_mtime_ns}
        if _shown(path) != path:
            raise OSError(0, "its name is not UTF-8, or too long")
        if stat.S_ISREG(info.st_mode):
            if info.st_size > MAX_FILE_BYTES:
                raise OSError(0, f"it has {info.st_size:,} bytes; files up to {MAX_FILE_BYTES:,} are held")
            state.update(kind="file", size_bytes=info.st_size)
        elif stat.S_ISDIR(info.st_mode):
            state.update(kind="dir", mtime_ns=0)  # what is in it has marks of its own
        elif stat.S_ISLNK(info.st_mode):
            state.update(kind="link", target=_shown(os.readlink(entry.path)))
        else:
            raise OSError(0, "it is neither a file, a folder nor a link")
    except OSError as error:
        _drop(listing, path, error.strerror or "it cannot be read")
        return ""
    listing.entries[path] = state
    listing.marks[path] = []
    if state["kind"] == "dir":
        listing.marks[path] = [info.st_mode]
    elif now_ns - info.st_ctime_ns > TICK_NS:
        listing.marks[path] = [info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino]
    return str(state["kind"])


def set_aside(root: str, listing: Listing, known: dict[str, list[int]], folder: str) -> None:
    """Copy the files whose marks are not those of `known` to `folder`, so that their contents stay what they are.

    One for which there is no room is dropped with that reason.
    """
    for path, state in list(listing.entries.items()):
        marks = listing.marks[path]
        if state["kind"] != "file" or (marks and marks == known.get(path)):
            continue
        copy = os.path.join(folder, str(len(listing.aside)))
        try:
            os.makedirs(folder, exist_ok=True)
            _copy_file(os.path.join(root, path), copy)
            state["size_bytes"] = os.stat(copy).st_size
            listing.aside[path] = copy
        except OSError as error:
            del listing.entries[path], listing.marks[path]
            _drop(listing, path, f"it could not be set aside: {error.strerror}")


def _copy_file(source: str, target: str) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            place = 0
            while True:
                count = os.sendfile(writer, reader, place, 1 << 24)
                if count == 0:
                    return
                place += count
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def write_down(
    listing: Listing, base: dict[str, Any], sink: Callable[[str, bytes], None]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(`files` of the manifest, what the next call takes as `base`). New contents go to `sink(sha256, data)`."""
    import hashlib

    files: list[dict[str, Any]] = []
    following: dict[str, Any] = {}
    for path, state in listing.entries.items():
        marks = listing.marks[path]
        if state["kind"] == "file":
            known = base.get(path)
            if path in listing.aside:
                state = {**state, "blobs": _blocks(listing.aside[path], hashlib.sha256, sink)}
            elif known is None or known[0] != marks:
                # The snapshot that it was compared with did not come about, or code took the copy away.
                listing.dropped.append({"name": path, "type": "file", "reason": "its content was not set aside"})
                continue
            else:
                state = {**state, "blobs": known[1]}
            following[path] = [marks, state["blobs"]]
        files.append(state)
    return files, following


def _blocks(path: str, sha256: Callable[[bytes], Any], sink: Callable[[str, bytes], None]) -> list[str]:
    hashes: list[str] = []
    with open(path, "rb") as stream:
        while True:
            block = stream.read(BLOCK_BYTES)
            if not block:
                return hashes
            hashes.append(sha256(block).hexdigest())
            sink(hashes[-1], block)


def bring_back(root: str, files: Iterable[dict[str, Any]], content: Callable[[str], bytes]) -> None:
    """Make the files, folders and links of a manifest. Raises `OSError`, or `ValueError` for a path that leads out."""
    entries = sorted(files, key=_by_path)
    for state in entries:
        _check_path(state["path"])
        if state.get("kind") == "dir":
            os.makedirs(os.path.join(root, state["path"]), exist_ok=True)
    for state in entries:
        if state.get("kind", "file") == "file":
            _write_file(os.path.join(root, state["path"]), state, content)
    for state in entries:  # last, so that nothing was written through them
        if state.get("kind") == "link":
            full = os.path.join(root, state["path"])
            if os.path.lexists(full):
                os.unlink(full)
            os.symlink(state.get("target", ""), full)
    for state in reversed(entries):  # a folder that cannot be written would keep its files out
        if state.get("kind") == "dir":
            _set_marks(os.path.join(root, state["path"]), state)


def _by_path(state: dict[str, Any]) -> str:
    return str(state["path"])


def _check_path(path: str) -> None:
    names = path.split("/")
    if path.startswith("/") or ".." in names or "\0" in path or names[0] in ("", RESERVED):
        raise ValueError(f"a snapshot holds files of its workspace only, not {path[:100]!r}")


def _write_file(full: str, state: dict[str, Any], content: Callable[[str], bytes]) -> None:
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as stream:
        for sha256 in state.get("blobs", []):
            stream.write(content(sha256))
    _set_marks(full, state)


def _set_marks(full: str, state: dict[str, Any]) -> None:
    """Mode and time, where the sandbox lets them be set: one on the host's file tree does not."""
    try:
        os.chmod(full, state.get("mode", 0o644))
        if state.get("mtime_ns"):
            os.utime(full, ns=(state["mtime_ns"], state["mtime_ns"]))
    except PermissionError:
        pass


def discard_aside(folder: str) -> None:
    """Remove a folder made by `set_aside`. What code put into it besides stays, and the folder with it."""
    try:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        pass  # none was made, or code has been there
