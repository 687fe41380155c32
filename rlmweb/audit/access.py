"""Who may read the log: the one decision, for pages, downloads and whatever comes.

Staff see every chain. A member sees a team's chain whole as its auditor or owner, a lead sees the team's, too; everybody
else their own acts there. Nobody writes here at all.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.models import User as AuthUser
from django.db.models import QuerySet
from django.http import Http404

from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, AuditSubject
from rlmweb.teams.models import Membership, Role

READS_TEAM = frozenset({Role.LEAD, Role.AUDITOR, Role.OWNER})


def chains_of(user: AuthUser | AnonymousUser) -> dict[UUID, str]:
    """Chain -> name, of those that `user` sees anything of, the installation's first."""
    if not user.is_authenticated or not user.is_active:
        return {}
    found = {INSTANCE_CHAIN: "Installation"} if user.is_staff else {}
    memberships = Membership.objects.select_related("team").order_by("team__name")
    if not user.is_staff:
        memberships = memberships.filter(user_id=user.pk)
    found.update({each.team.uuid: each.team.name for each in memberships})
    return found


def may_read_all(user: AuthUser | AnonymousUser, chain: UUID) -> bool:
    """The whole chain, and with it its verification and export."""
    if not user.is_authenticated or not user.is_active:
        return False
    if user.is_staff:
        return True
    return Membership.objects.filter(user_id=user.pk, team__uuid=chain, role__in=READS_TEAM).exists()


def entries_for(user: AuthUser | AnonymousUser, chain: UUID) -> QuerySet[AuditEntry]:
    """Raises `Http404` for a chain that is not for this person."""
    if chain not in chains_of(user):
        raise Http404
    entries = AuditEntry.objects.filter(chain=chain)
    if may_read_all(user, chain):
        return entries
    mine = AuditSubject.objects.filter(name=user.get_username(), erased_at__isnull=True)
    return entries.filter(subject_uuid__in=mine.values("uuid"))


def require_whole(user: AuthUser | AnonymousUser, chain: UUID) -> None:
    """Raises `Http404`."""
    if chain not in chains_of(user) or not may_read_all(user, chain):
        raise Http404
