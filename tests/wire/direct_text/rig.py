from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.wire.direct_text import DirectTextProvider
from tests.wire.engine import Engine
from tests.wire.faults import Faults
from tests.wire.rig import Rig


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    engine, faults = Engine(folder), Faults()
    yield Rig(DirectTextProvider(engine, faults), engine, faults, answers_fail=False)
