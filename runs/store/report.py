"""What a collection of garbage did, or would do: counts and bytes by class."""

from __future__ import annotations

from typing import Any

import msgspec

MAX_PROBLEMS = 20


class Amount(msgspec.Struct):
    """So many things, so many bytes on disk (or in the object store)."""

    count: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        self.count += 1
        self.size_bytes += size_bytes


class Report(msgspec.Struct, kw_only=True):
    """`snapshots` of `sessions` were given up; of the contents, `freed` were deleted, `young` are unused but not old
    enough, `used` are needed. Copies of contexts and unfinished uploads are files beside the store."""

    snapshots: int = 0
    sessions: int = 0
    freed: Amount = msgspec.field(default_factory=Amount)
    young: Amount = msgspec.field(default_factory=Amount)
    used: Amount = msgspec.field(default_factory=Amount)
    context_copies: Amount = msgspec.field(default_factory=Amount)
    uploads: Amount = msgspec.field(default_factory=Amount)
    problems: list[str] = []
    """What kept something from being looked at, the first twenty."""

    @property
    def freed_bytes(self) -> int:
        return self.freed.size_bytes + self.context_copies.size_bytes + self.uploads.size_bytes

    def note_problem(self, text: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems = [*self.problems, text]


def report_to_plain(report: Report) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain


def report_from_plain(plain: object) -> Report:
    return msgspec.convert(plain, Report)
