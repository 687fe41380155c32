"""The model desk: what happens on whose thread."""

from __future__ import annotations

import sys
from pathlib import Path
from queue import SimpleQueue

import pytest

from runs.engine.io import TURN, Ask, ChatMessage
from runs.lm import registry
from runs.services.desk import Answered, ModelDesk, Wrote
from tests.factories import scripted_config

SLOW_CLIENT = """
import threading
from runs.lm.scripted import build
IMPORTED_BY = threading.current_thread().name
"""


def test_a_client_is_imported_by_the_caller_and_not_on_the_loop_that_serves_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_client.py").write_text(SLOW_CLIENT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.BUILDERS, "scripted", "slow_client:build")
    heard: SimpleQueue[Wrote | Answered] = SimpleQueue()
    config = scripted_config("measure")
    desk = ModelDesk(config, 0, heard.put)
    ask = Ask(TURN, "turn", (ChatMessage("user", "?"),), "root")
    desk.start(1, ask, config.root, "s/0/1/0/turn/0", 0, stream=False)
    answer = heard.get(timeout=10)
    assert isinstance(answer, Answered)
    assert answer.error is None
    assert sys.modules["slow_client"].IMPORTED_BY != "rlmweb-aio"
