"""Acts that Django itself announces: signing in and out, and changes in the admin pages."""

from __future__ import annotations

from typing import Any

from allauth.mfa.signals import authenticator_added, authenticator_removed
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save

from rlmweb.audit.models import AuditEntry
from rlmweb.audit.record import Particulars, record

NOBODY = "anonymous"


def connect() -> None:
    user_logged_in.connect(note_sign_in, dispatch_uid="audit.sign_in")
    user_logged_out.connect(note_sign_out, dispatch_uid="audit.sign_out")
    user_login_failed.connect(note_refusal, dispatch_uid="audit.refused")
    authenticator_added.connect(note_factor_added, dispatch_uid="audit.factor_added")
    authenticator_removed.connect(note_factor_removed, dispatch_uid="audit.factor_removed")
    post_save.connect(note_admin, sender=LogEntry, dispatch_uid="audit.admin")


def note_sign_in(user: Any, **_: object) -> None:
    name = user.get_username()
    record("user.sign_in", actor=name, object_type="user", object_id=str(user.pk))


def note_sign_out(user: Any, **_: object) -> None:
    if user is not None:
        record("user.sign_out", actor=user.get_username(), object_type="user", object_id=str(user.pk))


def note_refusal(**_: object) -> None:
    """The name that was tried is not kept: people type their password into it."""
    record(
        "user.sign_in_refused",
        actor=NOBODY,
        object_type="user",
        object_id="",
        outcome=AuditEntry.Outcome.DENIED,
        particulars=Particulars(reason="wrong name or password"),
    )


def note_factor_added(user: Any, authenticator: Any, **_: object) -> None:
    _note_factor("factor.add", user, authenticator)


def note_factor_removed(user: Any, authenticator: Any, **_: object) -> None:
    _note_factor("factor.remove", user, authenticator)


def _note_factor(action: str, user: Any, authenticator: Any) -> None:
    kind = {"kind": str(authenticator.type)}
    record(action, actor=user.get_username(), object_type="user", object_id=str(user.pk), details=kind)


def note_admin(instance: LogEntry, created: bool, **_: object) -> None:
    if not created:
        return
    verb = {ADDITION: "add", CHANGE: "change"}.get(instance.action_flag, "delete")
    model = instance.content_type.model if instance.content_type is not None else ""
    record(
        f"admin.{verb}",
        actor=instance.user.get_username(),
        object_type=model[:32],
        object_id=str(instance.object_id or "")[:64],
        source="admin",
        particulars=Particulars(object_label=instance.object_repr[:200]),
        details={"changed": instance.get_change_message()},
    )
