"""Expected answers and how an answer text is held against them.

Plain data (they are stored with the session), one class for each form of answer. All are lenient in form and strict
in content: numbers inside prose and lists in any order are right, "either 5 or 6" is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from runs.examples.statements import MAX_ANSWER_CHARS, claims, hedges, items_in, names_in, numbers_in

# Begun at the start of a path only: elsewhere the search would take quadratic time in a long word.
_FILE = re.compile(r"(?<![\w./\\-])[\w./\\-]+\.py\b")
_MODULE = re.compile(r"\w+(?:\.\w+)*")


@dataclass(frozen=True)
class Verdict:
    """`reason` says in one sentence why; `expected` is the answer as it would be shown to a person."""

    correct: bool
    expected: str
    reason: str


class NumberAnswer(msgspec.Struct, frozen=True, tag="number", omit_defaults=True):
    """One number. `value` and `tolerance` are decimal literals; `tolerance` is what rounding may cost.

    `mentioned` are numbers of the question itself, which an answer may repeat.
    """

    value: str
    tolerance: str = "0"
    mentioned: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        return self.value

    def check(self, text: str) -> Verdict:
        wanted, tolerance = Decimal(self.value), Decimal(self.tolerance)
        repeated = {Decimal(number) for number in self.mentioned} - {wanted}
        said = [number for number in numbers_in(claims(text)) if number not in repeated]
        if not said:
            return self._verdict(False, "The answer states no number.")
        if len(said) > 1:
            return self._verdict(False, f"The answer states several numbers: {_joined(map(str, said))}.")
        if abs(said[0] - wanted) > tolerance:
            return self._verdict(False, f"The answer says {said[0]}.")
        return self._verdict(True, "The number is right.")

    def _verdict(self, correct: bool, reason: str) -> Verdict:
        return Verdict(correct, self.shown, reason)


class NameAnswer(msgspec.Struct, frozen=True, tag="name", omit_defaults=True):
    """One name out of several candidates. `others` are the wrong candidates: to state one of them is wrong.

    Numbers beside the name are not judged: the question asks for the name.
    """

    name: str
    others: tuple[str, ...]

    @property
    def shown(self) -> str:
        return self.name

    def check(self, text: str) -> Verdict:
        said = claims(text)
        candidates = frozenset(name.lower() for name in (self.name, *self.others))
        found = names_in(said, candidates)
        if not found:
            return Verdict(False, self.shown, "The answer names none of the candidates.")
        if found != {self.name.lower()}:
            return Verdict(False, self.shown, f"The answer names {_joined(sorted(found))}.")
        if hedges(said, self.name):
            return Verdict(False, self.shown, "The answer leaves a choice open.")
        return Verdict(True, self.shown, "The name is right.")


class NamesAnswer(msgspec.Struct, frozen=True, tag="names", omit_defaults=True):
    """A set of names out of several candidates, in any order: all of `names`, none of `others`."""

    names: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def shown(self) -> str:
        return ", ".join(self.names)

    def check(self, text: str) -> Verdict:
        wanted = {name.lower() for name in self.names}
        candidates = frozenset(wanted | {name.lower() for name in self.others})
        return _set_verdict(self.shown, wanted, names_in(text[:MAX_ANSWER_CHARS], candidates))


class FilesAnswer(msgspec.Struct, frozen=True, tag="files", omit_defaults=True):
    """A set of Python files, in any order, by the paths of their header lines.

    `json/decoder.py` may also be said with folders before it, or, in a bare list, as the module `json.decoder`.
    """

    files: tuple[str, ...]

    @property
    def shown(self) -> str:
        return ", ".join(self.files)

    def check(self, text: str) -> Verdict:
        said = claims(text)
        found = {self._known_as(path.replace("\\", "/").lstrip("./")) for path in _FILE.findall(said)}
        if not found:
            found = {self._as_file(item) for item in items_in(said) if _MODULE.fullmatch(item)}
        if len(self.files) == 1 and any(hedges(said, path) for path in self.files):
            return Verdict(False, self.shown, "The answer leaves a choice open.")
        return _set_verdict(self.shown, set(self.files), found)

    def _known_as(self, said: str) -> str:
        return next((path for path in self.files if said == path or said.endswith(f"/lib/{path}")), _shortened(said))

    def _as_file(self, module: str) -> str:
        path = module.replace(".", "/")
        return next((file for file in self.files if file in (f"{path}.py", f"{path}/__init__.py")), f"{path}.py")


Expected = NumberAnswer | NameAnswer | NamesAnswer | FilesAnswer


def _shortened(path: str) -> str:
    """`/usr/lib/python3.11/json/decoder.py` is `json/decoder.py`."""
    return re.sub(r"^.*?\bpython3\.\d+/", "", path)


def _set_verdict(shown: str, wanted: set[str], found: set[str]) -> Verdict:
    missing, extra = sorted(wanted - found), sorted(found - wanted)
    if missing and extra:
        return Verdict(False, shown, f"Missing: {_joined(missing)}. Too many: {_joined(extra)}.")
    if missing:
        return Verdict(False, shown, f"Missing: {_joined(missing)}.")
    if extra:
        return Verdict(False, shown, f"Too many: {_joined(extra)}.")
    return Verdict(True, shown, "The list is complete and has nothing else in it.")


def _joined(names: Iterable[str], limit: int = 6) -> str:
    listed = list(names)
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")
