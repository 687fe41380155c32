"""Links of a session: made, counted, revoked."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from rlmweb.teams.permissions import Permission, allows
from rlmweb.teams.policies.enforcing import PolicyRefused
from runs.access import actor_of, session_for
from runs.models import Session, Share
from runs.share_form import ShareForm
from runs.shares.sharing import CannotShare, may_revoke, revoke, share_session, shares_of


@never_cache
@login_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def shares(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The links of a session; a POST makes one and shows its address, the only time that it is shown whole."""
    session = session_for(request.user, uuid)
    if not allows(request.user, Permission.SHARE, session.team):
        raise Http404
    form = ShareForm(_public(request, session), request.POST if request.method == "POST" else None)
    made: tuple[Share, str] | None = None
    if request.method == "POST" and form.is_valid():
        try:
            share, token = share_session(actor_of(request.user, "web"), session, form.wanted())
        except (CannotShare, PolicyRefused) as error:
            form.add_error(None, str(error))
        else:
            address = request.build_absolute_uri(reverse("runs:shared", args=[share.public_id]))
            made = share, f"{address}#{token}" if token else address
            form = ShareForm(_public(request, session))
    rows = [(share, may_revoke(request.user, share)) for share in shares_of(session)]
    context = {"session": session, "form": form, "made": made, "rows": rows}
    return render(request, "runs/shares.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def revoke_one(request: HttpRequest, uuid: UUID, share: UUID) -> HttpResponse:
    session = session_for(request.user, uuid)
    found = get_object_or_404(session.shares.select_related("session__team"), uuid=share)
    if not may_revoke(request.user, found):
        raise Http404
    revoke(actor_of(request.user, "web"), session.shares.filter(pk=found.pk))
    messages.success(request, "The link shows nothing any more.")
    return redirect("runs:shares", session.uuid)


@login_required
@require_POST
def revoke_all(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """All links of the session that this person may revoke."""
    session = session_for(request.user, uuid)
    if not allows(request.user, Permission.SHARE, session.team):
        raise Http404
    mine = [share.pk for share in shares_of(session) if may_revoke(request.user, share)]
    count = revoke(actor_of(request.user, "web"), session.shares.filter(pk__in=mine))
    messages.success(request, f"{count} link{'' if count == 1 else 's'} revoked.")
    return redirect("runs:shares", session.uuid)


def _public(request: HttpRequest, session: Session) -> bool:
    return allows(request.user, Permission.SHARE_PUBLIC, session.team)
