"""Who may read the log: the one decision, for pages, downloads and whatever comes.

Staff see every chain. Of an organisation's chain, its auditors, admins and owners see all; leads see what concerns their
teams; everybody else their own acts. Nobody writes here at all.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.models import User as AuthUser
from django.db.models import Q, QuerySet
from django.http import Http404

from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, AuditSubject
from rlmweb.teams.models import Organisation
from rlmweb.teams.permissions import Permission, organisations_of, organisations_with, teams_with, token_of

User = AuthUser | AnonymousUser


def chains_of(user: User) -> dict[UUID, str]:
    """Chain -> name, of those that `user` sees anything of, the installation's first."""
    if not user.is_authenticated or not user.is_active or token_of(user) is not None:
        return {}
    found = {INSTANCE_CHAIN: "Installation"} if user.is_staff else {}
    organisations = Organisation.objects.all() if user.is_staff else organisations_of(user)
    found.update({each.uuid: each.name for each in organisations})
    return found


def may_read_all(user: User, chain: UUID) -> bool:
    """The whole chain."""
    return _over(user, chain, Permission.READ_AUDIT)


def may_prove(user: User, chain: UUID) -> bool:
    """Export it and have it verified."""
    return _over(user, chain, Permission.PROVE_AUDIT)


def entries_for(user: User, chain: UUID) -> QuerySet[AuditEntry]:
    """Raises `Http404` for a chain that is not for this person."""
    if chain not in chains_of(user):
        raise Http404
    entries = AuditEntry.objects.filter(chain=chain)
    if may_read_all(user, chain):
        return entries
    mine = AuditSubject.objects.filter(name=user.get_username(), erased_at__isnull=True).values("uuid")
    led = teams_with(user, Permission.READ_TEAM_AUDIT).filter(organisation__uuid=chain).values("uuid")
    return entries.filter(Q(subject_uuid__in=mine) | Q(team_uuid__in=led))


def require_whole(user: User, chain: UUID) -> None:
    """Raises `Http404` for who may not export and verify the chain."""
    if chain not in chains_of(user) or not may_prove(user, chain):
        raise Http404


def _over(user: User, chain: UUID, permission: Permission) -> bool:
    if not user.is_authenticated or not user.is_active or token_of(user) is not None:
        return False
    return bool(user.is_staff) or organisations_with(user, permission).filter(uuid=chain).exists()
