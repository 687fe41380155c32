"""Writes of the sandbox room: open a sandbox with a row of its own, find it again, end it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from sandboxes import aio
from sandboxes.contract import Provider, Sandbox, SandboxInfo, SandboxRef, Spec
from sandboxes.errors import NotFound, SandboxError
from sandboxes.models import SandboxRecord
from sandboxes.registry import create_provider

logger = logging.getLogger(__name__)

CREATE_TIMEOUT_S = 120
TERMINATE_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Opened:
    """A running sandbox and its row."""

    record: SandboxRecord
    sandbox: Sandbox
    info: SandboxInfo


@cache
def provider_named(name: str) -> Provider:
    """This process's provider of that name, configured from the settings."""
    options: dict[str, dict[str, object]] = {"local": {"socket": settings.LOCAL_SANDBOX_SOCKET}}
    return create_provider(name, **options.get(name, {}))


async def create(provider: str, spec: Spec, key: str) -> tuple[Sandbox, SandboxInfo]:
    """Create, or find what an earlier call with the same `key` created. Raises `SandboxError`."""
    sandbox = await provider_named(provider).create(spec, idempotency_key=key)
    return sandbox, await sandbox.info()


def note_created(provider: str, sandbox: Sandbox, info: SandboxInfo, *, session_uuid: UUID, node_uuid: UUID) -> Opened:
    """Write the row of a sandbox that `create` returned; the same sandbox gets one row."""
    record, _ = SandboxRecord.objects.get_or_create(
        ref=sandbox.ref,
        defaults={
            "provider": provider,
            "tier": info.tier,
            "isolation": info.isolation.value,
            "session_uuid": session_uuid,
            "node_uuid": node_uuid,
        },
    )
    return Opened(record, sandbox, info)


def reconnect(ref: str) -> Sandbox:
    """The sandbox of a stored reference. Raises `NotFound` when it is gone, other `SandboxError`s when unsure."""
    return aio.run(provider_named(provider_of(ref)).get(SandboxRef(ref)), timeout_s=TERMINATE_TIMEOUT_S)


def provider_of(ref: str) -> str:
    return str(json.loads(ref)["provider"])


def created_at(ref: str) -> float | None:
    """Unix time in seconds at which the sandbox was created, or None when it has no row."""
    record = SandboxRecord.objects.filter(ref=ref).first()
    return record.created_at.timestamp() if record is not None else None


def mark_lost(ref: str) -> None:
    _end(SandboxRecord.objects.filter(ref=ref), SandboxRecord.State.LOST)


def terminate(refs: Iterable[str]) -> None:
    """End sandboxes and wait for it. Idempotent; one that cannot be ended now is left to `end_unknown`."""
    wanted = list(refs)
    mark_ended(wanted)
    aio.run(_terminate_all(wanted), timeout_s=TERMINATE_TIMEOUT_S)


def mark_ended(refs: Iterable[str]) -> None:
    """These sandboxes are not wanted any more: from now on `end_unknown` ends them if nobody else does."""
    _end(SandboxRecord.objects.filter(ref__in=list(refs)), SandboxRecord.State.TERMINATED)


def terminate_soon(refs: Iterable[str]) -> None:
    """End sandboxes in the background. Mark them first (`mark_ended`), in the transaction that decides it."""
    aio.submit(_terminate_all(list(refs)))


def end_unknown(provider: str, min_age_s: float) -> int:
    """End sandboxes at `provider` that have no running row: whoever should have ended or noted them has died."""
    infos = aio.run(provider_named(provider).list({}), timeout_s=TERMINATE_TIMEOUT_S)
    known = set(SandboxRecord.objects.filter(state=SandboxRecord.State.RUNNING).values_list("ref", flat=True))
    unknown = [info.ref for info in infos if info.ref not in known and info.created_at < time.time() - min_age_s]
    aio.run(_terminate_all(unknown), timeout_s=TERMINATE_TIMEOUT_S)
    return len(unknown)


async def _terminate_all(refs: Iterable[str]) -> None:
    for ref in refs:
        try:
            sandbox = await provider_named(provider_of(ref)).get(SandboxRef(ref))
            await sandbox.terminate()
        except NotFound:
            continue
        except SandboxError as error:
            logger.warning("sandbox not ended yet: %s", error)


def _end(records: QuerySet[SandboxRecord], state: str) -> None:
    records.filter(state=SandboxRecord.State.RUNNING).update(state=state, ended_at=timezone.now())
