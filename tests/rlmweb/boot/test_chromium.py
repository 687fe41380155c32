from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlmweb.boot import chromium


def test_a_program_that_draws_nothing_is_refused_and_every_way_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretender = tmp_path / "pretender"
    pretender.write_text("#!/bin/sh\necho Chromium 999\n")
    pretender.chmod(0o755)
    monkeypatch.setenv("RLMWEB_CHROMIUM", str(pretender))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(chromium.NoChromium) as caught:
        chromium.ensure(tmp_path, lambda text: None)
    message = str(caught.value)
    assert f"{pretender} draws no page" in message
    assert "apt-get needs root" in message
    assert "npm" in message


def test_a_changed_npm_package_is_refused(tmp_path: Path) -> None:
    packed = tmp_path / "node_modules" / "@sparticuz" / "chromium" / "bin"
    packed.mkdir(parents=True)
    for name in chromium.NPM_PARTS:
        (packed / name).write_bytes(b"something else")
    with pytest.raises(chromium.NoChromium, match="not the one we know"):
        chromium._unpack("node", tmp_path)
