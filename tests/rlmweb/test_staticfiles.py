"""The hashed files of production, collected for real."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.test import override_settings

HASHED = re.compile(r"\.[0-9a-f]{12}(\.|$)")
PRODUCTION = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "rlmweb.staticfiles.HashedModulesStorage"},
}


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("static")
    with override_settings(STORAGES=PRODUCTION, STATIC_ROOT=root, DEBUG=False):
        staticfiles_storage._setup()  # type: ignore[attr-defined]
        call_command("collectstatic", "--no-input", verbosity=0)
    staticfiles_storage._setup()  # type: ignore[attr-defined]
    return root


def test_modules_import_one_another_by_hashed_names(collected: Path) -> None:
    manifest = json.loads((collected / "staticfiles.json").read_text())["paths"]
    imports = [
        (name, target)
        for name, hashed in manifest.items()
        if name.startswith("js/")
        for target in re.findall(r"^import [^\"';]*?from [\"']([^\"']+)[\"']", (collected / hashed).read_text(), re.M)
    ]
    assert len(imports) > 20
    assert [pair for pair in imports if not HASHED.search(pair[1])] == []


def test_every_file_has_a_hashed_name(collected: Path) -> None:
    manifest = json.loads((collected / "staticfiles.json").read_text())["paths"]
    assert [name for name, hashed in manifest.items() if not HASHED.search(hashed)] == []
