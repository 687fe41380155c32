"""The files of one context taken together: what questions ask about."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from runs.examples.stdlib.facts import FileFacts
from runs.examples.stdlib.sources import HEADER, file_text


@dataclass
class Library:
    files: list[FileFacts]

    @cached_property
    def by_package(self) -> dict[str, list[FileFacts]]:
        packages: dict[str, list[FileFacts]] = defaultdict(list)
        for file in self.files:
            if file.package:
                packages[file.package].append(file)
        return packages

    @cached_property
    def files_of_class(self) -> dict[str, list[str]]:
        return self._files_by(lambda file: {name for name, _ in file.classes})

    @cached_property
    def files_of_top_function(self) -> dict[str, list[str]]:
        return self._files_by(lambda file: file.top_functions)

    @cached_property
    def importers(self) -> dict[str, list[str]]:
        return self._files_by(lambda file: file.imports)

    @cached_property
    def classes(self) -> Counter[str]:
        """How many definitions each class name has, two in one file included."""
        return Counter(name for file in self.files for name, _ in file.classes)

    @cached_property
    def bases(self) -> Counter[str]:
        """How often each plain name is the only base of a class."""
        return Counter(base for file in self.files for _, base in file.classes if base)

    @cached_property
    def parameters(self) -> Counter[str]:
        return sum((file.parameters for file in self.files), Counter())

    @cached_property
    def bound(self) -> Counter[str]:
        return sum((file.bound for file in self.files), Counter())

    def count_lines(self, counted: Callable[[str], bool]) -> int:
        """Lines of the context for which `counted` holds, header lines included."""
        total = 0
        for file in self.files:
            total += counted(HEADER.format(name=file.name))
            total += sum(map(counted, file_text(file.name).split("\n")[:-1]))
        return total

    def count_occurrences(self, find: Callable[[str], int]) -> int:
        """Sum of what `find` counts in each file and each header line."""
        return sum(find(HEADER.format(name=file.name)) + find(file_text(file.name)) for file in self.files)

    def _files_by(self, names: Callable[[FileFacts], set[str]]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for file in self.files:
            for name in names(file):
                found[name].append(file.name)
        return found
