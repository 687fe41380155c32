"""What this installation allows its LM clients, read from the settings once they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Site:
    """`allowed_hosts`: model endpoints besides the vendors' own (`host`, `host:port`, `*.host`).

    `data_dir`: where the embedded model keeps its weights and its endpoint file. `ledger_dir`: where scripted models
    may keep ledgers; None, the default, means nowhere.
    """

    allowed_hosts: tuple[str, ...] = ()
    data_dir: Path | None = None
    ledger_dir: Path | None = None


def from_settings() -> Site:
    from django.conf import settings

    ledger_dir = getattr(settings, "SCRIPT_LEDGER_DIR", None)
    return Site(
        allowed_hosts=tuple(settings.MODEL_HOSTS),
        data_dir=Path(settings.DATA_DIR),
        ledger_dir=Path(ledger_dir) if ledger_dir else None,
    )
