"""Provider objects of teams: made of what was entered, one for each account and process, anew when that changes."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from rlmweb import sealed
from rlmweb.teams.models import Team
from sandboxes import aio
from sandboxes.contract import Description, Provider
from sandboxes.errors import AuthFailed, SandboxError
from sandboxes.models import ProviderAccount
from sandboxes.registry import create_provider, describe
from sandboxes.vendors import LOCAL, TITLES, VENDORS

logger = logging.getLogger(__name__)
MOST_OPEN = 256
"""Provider objects that one process keeps; beyond, those that were not used for longest are closed."""

CLOSE_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere to make sandboxes: a provider, and the account that pays; None where there is nothing to pay."""

    name: str
    provider: Provider
    account: ProviderAccount | None = None


_lock = threading.Lock()
_open: OrderedDict[tuple[object, ...], Provider] = OrderedDict()


def place_of(name: str, team: Team) -> Place:
    """Where `team` makes sandboxes at the provider `name`. Raises `AuthFailed` without a key, `InvalidSpec` for a name
    nobody knows, `Unsupported` when the vendor's package is not installed."""
    if name == LOCAL:
        return Place(LOCAL, local_provider())
    account = ProviderAccount.objects.filter(team=team, provider=name).first()
    if account is None:
        if name not in VENDORS:
            create_provider(name)  # says which there are
        raise AuthFailed(
            f"{TITLES[name]}: the team {team.name} has no key for it. Enter one under Providers.", provider=name
        )
    return Place(name, provider_of(account), account)


def local_provider() -> Provider:
    socket = settings.LOCAL_SANDBOX_SOCKET
    return _kept((LOCAL, socket), LOCAL, {"socket": socket})


def provider_of(account: ProviderAccount) -> Provider:
    """Raises `AuthFailed` when the key cannot be decrypted, and what the provider's constructor raises."""
    return _kept((account.provider, account.pk, account.updated_at), account.provider, account)


def describing(name: str, account: ProviderAccount | None = None) -> Description:
    """What a provider can do and costs for the owner of `account`, or for anybody without one; needs no key.

    Raises `Unsupported`, `InvalidSpec`.
    """
    if name == LOCAL:
        return local_provider()
    entered = account.options if account is not None else {}
    examples = {field.name: field.example for field in VENDORS[name].fields if field.kind not in ("flag", "json")}
    return describe(name, **{**examples, **entered})


def secrets_of(account: ProviderAccount) -> dict[str, Any]:
    """Raises `AuthFailed`."""
    try:
        plain = sealed.unseal(bytes(account.secrets_encrypted), bound_to=bound_to(account))
    except (sealed.Unreadable, sealed.SealedForAnother) as error:
        raise AuthFailed(
            f"The stored key for {TITLES[account.provider]}: {error}", provider=account.provider
        ) from error
    return dict(plain)


def bound_to(account: ProviderAccount) -> str:
    """A key is for the provider and the address that it was entered with, and for no other."""
    addresses = [str(account.options.get(f.name, "")) for f in VENDORS[account.provider].fields if f.kind == "url"]
    return " ".join(["provider", account.provider, *addresses])


def _kept(named: tuple[object, ...], name: str, values: dict[str, Any] | ProviderAccount) -> Provider:
    key = (os.getpid(), *named)  # the connections of a process that forked are not its child's
    with _lock:
        found = _open.get(key)
        if found is not None:
            _open.move_to_end(key)
            return found
    if isinstance(values, ProviderAccount):
        values = {**values.options, **secrets_of(values)}
    made = create_provider(name, **values)
    with _lock:
        kept = _open.setdefault(key, made)
        of_account = isinstance(values, dict) and len(named) == 3
        stale = [old for old in _open if of_account and old != key and old[:3] == key[:3]]
        while len(_open) - len(stale) > MOST_OPEN:
            stale.append(next(old for old in _open if old not in stale))
        closing = [(old, _open.pop(old)) for old in stale]
    for old, provider in closing:
        if old[0] == os.getpid():
            _close_later(provider)
    return kept


def _close_later(provider: Provider) -> None:
    """Not at once: a step that began with it goes on with it."""
    loop = aio.background_loop()
    loop.call_soon_threadsafe(loop.call_later, CLOSE_AFTER_S, lambda: aio.submit(_close(provider)))


async def _close(provider: Provider) -> None:
    try:
        await provider.close()
    except SandboxError as error:
        logger.info("a provider was not closed well: %s", error)
