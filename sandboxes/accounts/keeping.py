"""What a team keeps of providers: written and checked. Every write is in the audit log; no secret is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.db import transaction
from django.utils import timezone

from rlmweb import sealed
from rlmweb.audit.record import record as audit
from rlmweb.teams.models import Team
from rlmweb.teams.policies.enforcing import require
from rlmweb.teams.policies.facts import Act, Facts, SandboxFacts
from sandboxes import aio
from sandboxes.accounts.addresses import check_address
from sandboxes.accounts.opening import bound_to, provider_of
from sandboxes.choosing import attested_kinds
from sandboxes.errors import SandboxError
from sandboxes.models import ProviderAccount, ProviderAttestation, ProviderOrder, SandboxRecord
from sandboxes.registry import PROVIDERS
from sandboxes.vendors import LOCAL, TITLES, VENDORS, Field, Vendor

PING_TIMEOUT_S = 30.0
MAX_VALUE_CHARS = 4096


class Refused(ValueError):
    """What was entered cannot be kept. `field` names it; empty: no single one."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def save_account(team: Team, provider: str, values: Mapping[str, Any], *, actor: str, source: str) -> ProviderAccount:
    """Keep what was entered; a secret that is left empty stays as it is.

    Raises `PolicyRefused`, `Refused`, `RefusedAddress`.
    """
    vendor = _vendor(provider)
    box = SandboxFacts(provider, attested=frozenset(attested_kinds(team, provider)))
    require(Act.PROVIDER_KEY, Facts(team.organisation, actor, source, sandboxes=(box,)))
    with transaction.atomic():
        account = ProviderAccount.objects.select_for_update().filter(team=team, provider=provider).first()
        is_new = account is None
        if account is None:
            account = ProviderAccount(team=team, provider=provider)
        secrets = _secrets(vendor, values, account, is_new=is_new)
        account.options = _options(vendor, values)
        account.secrets_encrypted = sealed.seal(secrets, bound_to=bound_to(account))
        account.hint = sealed.hint(str(secrets[vendor.secrets[0]])) if vendor.secrets else "no key"
        account.checked_at, account.check_failed, account.check_text = None, False, ""
        account.save()
        _audit("provider_account.add" if is_new else "provider_account.change", account, actor, source)
    return account


def remove_account(account: ProviderAccount, *, actor: str, source: str) -> None:
    """Raises `Refused` while sandboxes run on it: without the key nobody could end them."""
    with transaction.atomic():
        running = SandboxRecord.objects.filter(account=account, state=SandboxRecord.State.RUNNING).count()
        if running:
            raise Refused(f"{running} sandboxes run on this key. Stop their sessions first.")
        _audit("provider_account.delete", account, actor, source)
        account.delete()


def check_account(account: ProviderAccount) -> ProviderAccount:
    """Ask the provider whether the key works, and note what it says."""
    try:
        text, failed = aio.run(provider_of(account).ping(), timeout_s=PING_TIMEOUT_S), False
    except (SandboxError, TimeoutError) as error:
        text, failed = str(error) or f"{TITLES[account.provider]} did not answer in {PING_TIMEOUT_S:g} s.", True
    account.checked_at, account.check_failed, account.check_text = timezone.now(), failed, text[:500]
    # `updated_at` stays: the key is the same.
    ProviderAccount.objects.filter(pk=account.pk).update(
        checked_at=account.checked_at, check_failed=failed, check_text=account.check_text
    )
    return account


def order_of(team: Team) -> list[str]:
    """The providers of a team, the default first. This machine when nothing was chosen."""
    row = ProviderOrder.objects.filter(team=team).first()
    return [name for name in row.names if name in PROVIDERS] or [LOCAL] if row is not None else [LOCAL]


@transaction.atomic
def save_order(team: Team, names: Sequence[str], *, actor: str, source: str) -> None:
    """Raises `Refused`."""
    unknown = [name for name in names if name not in PROVIDERS]
    if unknown or not names or len(set(names)) != len(names):
        raise Refused(f"Name each provider once: {', '.join(sorted(PROVIDERS))}.", "names")
    ProviderOrder.objects.update_or_create(team=team, defaults={"names": list(names)})
    audit(
        "provider_order.change",
        actor=actor,
        object_type="team",
        object_id=team.uuid,
        team_uuid=team.uuid,
        source=source,
        details={"names": list(names)},
    )


@transaction.atomic
def add_attestation(
    team: Team,
    provider: str,
    *,
    kind: str,
    scope: str,
    valid_until: date,
    reference: str = "",
    actor: str,
    source: str,
) -> ProviderAttestation:
    """Raises `Refused`."""
    if provider not in PROVIDERS:
        raise Refused(f"There is no provider {provider!r}.", "provider")
    row = ProviderAttestation.objects.create(
        team=team,
        provider=provider,
        kind=kind,
        scope=scope,
        reference=reference,
        valid_until=valid_until,
        entered_by=actor,
    )
    _audit_attestation("provider_attestation.add", row, actor, source)
    return row


@transaction.atomic
def remove_attestation(row: ProviderAttestation, *, actor: str, source: str) -> None:
    _audit_attestation("provider_attestation.delete", row, actor, source)
    row.delete()


def _vendor(provider: str) -> Vendor:
    vendor = VENDORS.get(provider)
    if vendor is None:
        raise Refused(f"{TITLES.get(provider, provider)} takes no key.", "provider")
    return vendor


def _secrets(vendor: Vendor, values: Mapping[str, Any], account: ProviderAccount, *, is_new: bool) -> dict[str, str]:
    from sandboxes.accounts.opening import secrets_of

    entered = {name: str(values.get(name) or "").strip() for name in vendor.secrets}
    if not is_new and not all(entered.values()):
        before = _options(vendor, values) | {}
        if any(before.get(f.name) != account.options.get(f.name) for f in vendor.fields if f.kind == "url"):
            raise Refused("Another address needs its key entered again: a key is for one address.", vendor.secrets[0])
        entered = {name: entered[name] or str(old) for name, old in secrets_of(account).items()}
    for field in vendor.fields:
        if field.secret and field.required and not entered.get(field.name):
            raise Refused(f"{field.label}: enter it.", field.name)
        if field.secret and len(entered[field.name]) > MAX_VALUE_CHARS:
            raise Refused(f"{field.label}: at most {MAX_VALUE_CHARS} characters.", field.name)
    return entered


def _options(vendor: Vendor, values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was left empty: the provider's own default holds then."""
    options: dict[str, Any] = {}
    for field in vendor.fields:
        if field.secret:
            continue
        if field.kind == "flag":
            options[field.name] = bool(values.get(field.name))
            continue
        text = str(values.get(field.name) or "").strip()
        if not text and field.required:
            raise Refused(f"{field.label}: enter it.", field.name)
        if len(text) > MAX_VALUE_CHARS or not text.isprintable():
            raise Refused(f"{field.label}: at most {MAX_VALUE_CHARS} printable characters.", field.name)
        if text and field.kind == "json":
            options[field.name] = _object(text, field)
            continue
        if text and field.kind == "url":
            text = text.rstrip("/")
            check_address(vendor.name, text)
        if text:
            options[field.name] = text
    return options


def _object(text: str, field: Field) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Refused(f"{field.label}: this is no JSON: {error}", field.name) from error
    if not isinstance(value, dict):
        raise Refused(f"{field.label}: enter a JSON object, in braces.", field.name)
    return value


def _audit(action: str, account: ProviderAccount, actor: str, source: str) -> None:
    audit(
        action,
        actor=actor,
        object_type="provider_account",
        object_id=account.uuid,
        team_uuid=account.team.uuid,
        source=source,
        details={"provider": account.provider, "options": account.options, "key": account.hint},
    )


def _audit_attestation(action: str, row: ProviderAttestation, actor: str, source: str) -> None:
    audit(
        action,
        actor=actor,
        object_type="provider_attestation",
        object_id=row.uuid,
        team_uuid=row.team.uuid,
        source=source,
        details={"provider": row.provider, "kind": row.kind, "until": row.valid_until.isoformat()},
    )
