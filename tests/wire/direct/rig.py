from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.wire.direct import DirectProvider
from tests.wire.engine import Engine
from tests.wire.rig import Rig


@contextmanager
def open_rig(folder: Path) -> Iterator[Rig]:
    engine = Engine(folder)
    yield Rig(DirectProvider(engine), engine)
