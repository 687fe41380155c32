"""Static files: in production every file by its content's hash, and the script of a Python package beside our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage, Storage
from whitenoise.storage import CompressedManifestStaticFilesStorage

from rlmweb.figures import PLOTLY_SCRIPT, plotly_folder

PLOTLY_PREFIX = "vendor"


class HashedModulesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # it ships no types
    """Without this a browser would mix a new module with old ones that its cache still holds."""

    support_js_module_import_aggregation = True


class PlotlyFinder(BaseFinder):
    """`vendor/plotly.min.js` out of the Python package: figures and the script that draws them are of one version."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._storage = FileSystemStorage(location=plotly_folder())
        # collectstatic puts files of a storage with a prefix below it.
        self._storage.prefix = PLOTLY_PREFIX  # type: ignore[attr-defined]

    def check(self, **options: Any) -> list[Any]:
        return []

    def find(self, path: str, find_all: bool = False, **options: Any) -> Any:
        if path != f"{PLOTLY_PREFIX}/{PLOTLY_SCRIPT}" or not self._storage.exists(PLOTLY_SCRIPT):
            return []
        found = self._storage.path(PLOTLY_SCRIPT)
        return [found] if find_all else found

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, Storage]]:
        if self._storage.exists(PLOTLY_SCRIPT):
            yield PLOTLY_SCRIPT, self._storage
