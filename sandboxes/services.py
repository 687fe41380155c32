"""Writes of the sandbox room: open a sandbox with a row of its own, find it again, end it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from sandboxes import aio
from sandboxes.accounts import opening
from sandboxes.accounts.opening import Place
from sandboxes.catalogue import measuring
from sandboxes.choosing.trying import Created, create_at_first
from sandboxes.contract import Provider, Sandbox, SandboxInfo, SandboxRef, Spec
from sandboxes.errors import AuthFailed, NotFound, SandboxError
from sandboxes.models import ProviderAccount, SandboxRecord
from sandboxes.vendors import LOCAL

logger = logging.getLogger(__name__)

CREATE_TIMEOUT_S = 120
TERMINATE_TIMEOUT_S = 30
GONE_TIMEOUT_S = 3.0
ASKED_AGAIN = 20
"""Sandboxes of one account in a round, one after another: a vendor that hangs must not hold up the others for long."""
INSTALLATION = "installation"
"""The label that says whose a sandbox is."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A running sandbox and its row."""

    record: SandboxRecord
    sandbox: Sandbox
    info: SandboxInfo


def local_provider() -> Provider:
    """This machine's provider."""
    return opening.local_provider()


async def create(places: Sequence[Place], spec: Spec, key: str) -> Created:
    """Create at the first of `places` that has room, or find what an earlier call with the same `key` created there.

    Raises `SandboxError`.
    """
    labels = {**spec.labels, INSTALLATION: installation()}
    return await create_at_first(places, replace(spec, labels=labels), key)


def note_created(created: Created, *, session_uuid: UUID, node_uuid: UUID) -> Opened:
    """Write the row of a sandbox that `create` returned; the same sandbox gets one row."""
    gpu, info = created.spec.gpu, created.info
    record, _ = SandboxRecord.objects.get_or_create(
        ref=created.sandbox.ref,
        defaults={
            "provider": created.place.name,
            "account": created.place.account,
            "tier": info.tier,
            "isolation": info.isolation.value,
            "session_uuid": session_uuid,
            "node_uuid": node_uuid,
            "gpu": gpu.types[0] if gpu is not None else "",
            "gpu_count": gpu.count if gpu is not None else 0,
            "usd_per_hour": created.place.provider.estimate(created.spec).usd_per_hour,
        },
    )
    measuring.write_kept()
    return Opened(record, created.sandbox, info)


def reconnect(ref: str) -> Sandbox:
    """The sandbox of a stored reference. Raises `NotFound` when it is gone, other `SandboxError`s when unsure."""
    return aio.run(_providers_of([ref])[ref].get(SandboxRef(ref)), timeout_s=TERMINATE_TIMEOUT_S)


def gone_among(refs: Iterable[str], *, timeout_s: float = GONE_TIMEOUT_S) -> set[str]:
    """Those that their provider says do not exist. One that does not answer in time may still run: it is not among them."""
    reachable = _reachable(refs)
    return aio.run(_gone(reachable, timeout_s), timeout_s=timeout_s + 1.0) if reachable else set()


async def _gone(refs: Mapping[str, Provider], timeout_s: float) -> set[str]:
    answers = await asyncio.gather(*(_is_gone(ref, provider, timeout_s) for ref, provider in refs.items()))
    return {ref for ref, gone in zip(refs, answers, strict=True) if gone}


async def _is_gone(ref: str, provider: Provider, timeout_s: float) -> bool:
    try:
        await asyncio.wait_for(provider.get(SandboxRef(ref)), timeout_s)
    except NotFound:
        return True
    except (SandboxError, TimeoutError) as error:
        logger.info("not known whether a sandbox is gone: %s", error)
    return False


def provider_of(ref: str) -> str:
    return str(json.loads(ref)["provider"])


def installation() -> str:
    """Marks sandboxes as this installation's: others may use the same account at a vendor, and are not ours to end."""
    return settings.INSTALLATION or sha256(f"installation {settings.SECRET_KEY}".encode()).hexdigest()[:16]


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
    aio.run(_terminate_all(_reachable(wanted)), timeout_s=TERMINATE_TIMEOUT_S)
    measuring.write_kept()


def mark_ended(refs: Iterable[str]) -> None:
    """These sandboxes are not wanted any more: from now on `end_unknown` ends them if nobody else does."""
    _end(SandboxRecord.objects.filter(ref__in=list(refs)), SandboxRecord.State.TERMINATED)


def terminate_soon(refs: Iterable[str]) -> None:
    """End sandboxes in the background. Mark them first (`mark_ended`), in the transaction that decides it."""
    aio.submit(_terminate_all(_reachable(list(refs))))


def terminate_created_soon(created: Created) -> None:
    """End in the background what was created and never noted. May be called on the background loop itself."""
    aio.submit(_terminate_all({created.sandbox.ref: created.place.provider}))


def end_unknown(min_age_s: float) -> int:
    """End sandboxes of this installation, at every provider it has, that have no running row: whoever should have ended
    or noted them has died. A provider that does not answer is left for the next time."""
    known = set(SandboxRecord.objects.filter(state=SandboxRecord.State.RUNNING).values_list("ref", flat=True))
    ended = 0
    for account, provider in _in_use():
        try:
            if provider.capabilities()["list"].value:
                ended += _end_listed(provider, known, min_age_s)
            else:
                ended += _end_again(account, provider, min_age_s)
        except (SandboxError, TimeoutError) as error:
            logger.warning("sandboxes of %s were not looked at: %s", account or LOCAL, error)
    measuring.write_kept()
    measuring.forget_old()
    return ended


def _end_listed(provider: Provider, known: set[str], min_age_s: float) -> int:
    infos = aio.run(provider.list({INSTALLATION: installation()}), timeout_s=TERMINATE_TIMEOUT_S)
    oldest = time.time() - min_age_s
    unknown = [info.ref for info in infos if info.ref not in known and info.created_at < oldest]
    aio.run(_terminate_all(dict.fromkeys(unknown, provider)), timeout_s=TERMINATE_TIMEOUT_S)
    return len(unknown)


def _end_again(account: ProviderAccount | None, provider: Provider, min_age_s: float) -> int:
    """Where there is no list our own rows are all that is known: each that ended is asked to end until that is confirmed,
    so that one failed call leaves no sandbox that somebody pays for."""
    unsure = SandboxRecord.objects.filter(account=account, gone_at=None).exclude(state=SandboxRecord.State.RUNNING)
    old = unsure.filter(ended_at__lt=timezone.now() - timedelta(seconds=min_age_s)).order_by("id")
    refs = list(old.values_list("ref", flat=True)[:ASKED_AGAIN])
    gone = aio.run(_terminate_all(dict.fromkeys(refs, provider)), timeout_s=TERMINATE_TIMEOUT_S)
    return SandboxRecord.objects.filter(ref__in=gone).update(gone_at=timezone.now())


def _in_use() -> Iterator[tuple[ProviderAccount | None, Provider]]:
    if SandboxRecord.objects.filter(provider=LOCAL).exists():
        yield None, local_provider()
    for account in ProviderAccount.objects.select_related("team"):
        try:
            provider = opening.provider_of(account)
        except SandboxError as error:
            logger.warning("sandboxes of %s were not looked at: %s", account, error)
            continue
        yield account, provider


def _providers_of(refs: Iterable[str]) -> dict[str, Provider]:
    """The provider of each reference, with the key that its sandbox was made with. Raises `SandboxError`."""
    wanted = list(refs)
    found = {ref: local_provider() for ref in wanted if provider_of(ref) == LOCAL}
    paid = [ref for ref in wanted if ref not in found]
    if not paid:
        return found
    rows = SandboxRecord.objects.filter(ref__in=paid).exclude(account=None).select_related("account")
    accounts = {row.ref: row.account for row in rows}
    for ref in paid:
        account = accounts.get(ref)
        if account is not None:
            found[ref] = opening.provider_of(account)
        else:
            raise AuthFailed(
                "The key that this sandbox was made with was removed. Nobody here can reach it any more.",
                provider=provider_of(ref),
            )
    return found


def _reachable(refs: Iterable[str]) -> dict[str, Provider]:
    found: dict[str, Provider] = {}
    for ref in refs:
        try:
            found |= _providers_of([ref])
        except SandboxError as error:
            logger.warning("sandbox not ended: %s", error)
    return found


async def _terminate_all(refs: Mapping[str, Provider]) -> set[str]:
    """Those that are gone."""
    gone: set[str] = set()
    for ref, provider in refs.items():
        try:
            sandbox = await provider.get(SandboxRef(ref))
            with measuring.measured(provider_of(ref), measuring.Operation.TERMINATE):
                await sandbox.terminate()
        except NotFound:
            pass
        except SandboxError as error:
            logger.warning("sandbox not ended yet: %s", error)
            continue
        gone.add(ref)
    return gone


def _end(records: QuerySet[SandboxRecord], state: str) -> None:
    records.filter(state=SandboxRecord.State.RUNNING).update(state=state, ended_at=timezone.now())
