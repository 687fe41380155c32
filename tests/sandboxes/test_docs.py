"""The written protocol names every frame, with every field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from sandboxes import frames

TEXT = (Path(frames.__file__).parent / "docs" / "runner-protocol.md").read_text()
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
FRAMES = [*get_args(frames.HostFrame), *get_args(frames.RunnerFrame), frames.SideToRunner, frames.Evaluated]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.__name__)
def test_every_frame_has_a_heading_that_names_its_fields(frame: type) -> None:
    tag = frame.__struct_config__.tag  # type: ignore[attr-defined]
    section = SECTIONS[tag]
    if "Reserved" not in section:
        missing = [name for name in frame.__struct_fields__ if f"`{name}`" not in section]  # type: ignore[attr-defined]
        assert [name for name in missing if name != "seq"] == []


def test_there_is_no_heading_without_a_frame() -> None:
    assert set(SECTIONS) == {frame.__struct_config__.tag for frame in FRAMES}


def test_the_version_is_the_one_of_the_code() -> None:
    assert f"version {frames.PROTOCOL_VERSION}" in TEXT.splitlines()[0]
