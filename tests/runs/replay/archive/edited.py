"""Archives as somebody would write them who knows the format and means no good: every checksum is right."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from runs.replay.archive import format as form
from runs.replay.archive.rows import MemberSum
from runs.replay.archive.writing import checksums

Row = dict[str, Any]


class Edited:
    """The members of an archive, to be changed and written again."""

    def __init__(self, data: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            found = {member.name: tar.extractfile(member) for member in tar.getmembers()}
            self.members = {name: file.read() for name, file in found.items() if file is not None}
        del self.members[form.CHECKSUMS]

    def document(self, name: str, change: Callable[[Row], object]) -> Edited:
        plain = json.loads(self.members[name])
        change(plain)
        self.members[name] = json.dumps(plain).encode()
        return self

    def table(self, name: str, change: Callable[[list[Row]], object]) -> Edited:
        """Counts are put right, so that only what was changed is wrong."""
        rows = [json.loads(line) for line in self.members[name].splitlines()]
        change(rows)
        self.members[name] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        return self.document(form.ABOUT, lambda about: about["counts"].update({name: len(rows)}))

    def content(self, data: bytes, name: str = "") -> str:
        """Add a content, under a name that may be a lie."""
        sha256 = name or hashlib.sha256(data).hexdigest()
        self.members[form.content_name(sha256)] = zstandard.ZstdCompressor().compress(data)
        return self._counted(sha256)

    def without(self, sha256: str) -> Edited:
        del self.members[form.content_name(sha256)]
        self._counted(sha256)
        return self

    def _counted(self, sha256: str) -> str:
        count = sum(form.content_of(name) is not None for name in self.members)
        self.document(form.ABOUT, lambda about: about["counts"].update({"blobs": count}))
        return sha256

    def written(self, order: list[str] | None = None) -> bytes:
        contents = sorted(name for name in self.members if name.startswith("blobs/"))
        names = order or [*form.HEAD, *contents]
        sums = [
            MemberSum(name=name, size_bytes=len(data := self.members[name]), sha256=hashlib.sha256(data).hexdigest())
            for name in names
        ]
        members = [(name, self.members[name]) for name in names] + [(form.CHECKSUMS, checksums(sums))]
        return b"".join(member(*each) for each in members) + b"\0" * form.END_BYTES

    def write(self, path: Path, order: list[str] | None = None) -> Path:
        path.write_bytes(self.written(order))
        return path


def member(name: str, data: bytes) -> bytes:
    return form.header(name, len(data)) + data + form.padding(len(data))
