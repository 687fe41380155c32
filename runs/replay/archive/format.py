"""The archive format, version 1: names and order of members, their headers, and the limits of readers.

An archive is a tar file that can be written in exactly one way: members of one kind, in one order, with headers that
follow from name and size. A reader accepts nothing else, so it needs no opinion about links, folders, sparse files or
the dozen dialects of tar. `runs/docs/archive-format.md` is the specification.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORMAT = "rlmweb-session"
VERSION = 1
SUFFIX = ".rlmweb.tar"
CONTENT_TYPE = "application/x-tar"

BLOCK_BYTES = 512
END_BYTES = 2 * BLOCK_BYTES
MAX_MEMBER_BYTES = 8 * 1024**3 - 1
"""What eleven octal digits can say."""

README, ABOUT, SESSION, CHECKSUMS = "README.txt", "archive.json", "session.json", "checksums.json"
CONTEXTS, NODES, STEPS, MESSAGES = "contexts.jsonl", "nodes.jsonl", "steps.jsonl", "messages.jsonl"
CALLS, SNAPSHOTS, EVENTS = "calls.jsonl", "snapshots.jsonl", "events.jsonl"
TABLES = (CONTEXTS, NODES, STEPS, MESSAGES, CALLS, SNAPSHOTS, EVENTS)
HEAD = (README, ABOUT, SESSION, *TABLES)
"""The members that every archive begins with, in this order. Then contents by name, then `CHECKSUMS`."""

_CONTENT = re.compile(r"blobs/([0-9a-f]{64})\.zst")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader takes. One that reads for others must not be filled up or worn out by a file."""

    archive_bytes: int = 64 * 1024**3
    contents: int = 500_000
    content_bytes: int = 16 * 1024**3
    """Of one content, uncompressed."""
    contents_bytes: int = 128 * 1024**3
    """Of all contents, uncompressed."""
    document_bytes: int = 128 * 1024 * 1024
    """Of `README.txt` and the JSON documents, each."""
    line_bytes: int = 64 * 1024 * 1024
    rows: int = 2_000_000
    """Of one table."""
    depth: int = 64
    """Of nested JSON."""


LIMITS = Limits()


def content_name(sha256: str) -> str:
    return f"blobs/{sha256}.zst"


def content_of(name: str) -> str | None:
    """The hash that a member is named by; None for a member that is no content."""
    found = _CONTENT.fullmatch(name)
    return found.group(1) if found else None


def is_sha256(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def header(name: str, size_bytes: int) -> bytes:
    """The POSIX (ustar) header of a member. Nothing of the machine that writes it is in there, not even the time."""
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,  # mode, owner, group
        b"%011o\0" % size_bytes,
        b"%011o\0" % 0,  # time
        b" " * 8,  # the checksum, which counts itself as blanks
        b"0".ljust(101, b"\0"),  # a file, and what it would link to
        b"ustar\x0000".ljust(88, b"\0"),
    )
    block = b"".join(fields).ljust(BLOCK_BYTES, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size_bytes: int) -> bytes:
    return b"\0" * (-size_bytes % BLOCK_BYTES)


def checksum_line(name: str, sha256: str) -> bytes:
    """One line of the list, as `sha256sum` prints it. The hash of all lines identifies the archive."""
    return f"{sha256}  {name}\n".encode()
