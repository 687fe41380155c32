"""The auditor's pages: entries of a chain with filters, its verification, exports, and the checkpoint to copy."""

from __future__ import annotations

import base64
import inspect
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.db.models.functions import TruncDay
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from rlmweb.audit import standalone
from rlmweb.audit.access import chains_of, entries_for, may_prove, require_whole
from rlmweb.audit.checkpoints import anchors_of, newest, public_key
from rlmweb.audit.export import FORMS, exported
from rlmweb.audit.forms import Filters
from rlmweb.audit.inventory import ACTIONS
from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, AuditSubject
from rlmweb.audit.reads import sealer_lag_s
from rlmweb.audit.record import record
from rlmweb.audit.verify import State, Verdict, verify

PAGE_ROWS = 50
DAYS_SHOWN = 30


@never_cache
@login_required
@require_GET
def log(request: HttpRequest) -> HttpResponse:
    """`chain`: uuid of a team; without, the first that this person sees."""
    return render(request, "audit/log.html", _context(request, None))


@never_cache
@login_required
@require_POST
def verify_chain(request: HttpRequest, chain: UUID) -> HttpResponse:
    """Recompute the whole chain and show what came of it."""
    require_whole(request.user, chain)
    try:
        verdict = verify(chain, anchors_of(chain))
    except standalone.Unreadable as error:
        verdict = Verdict(chain, State.TAMPERED, why=f"in the file of checkpoints, {error}")
    _record(request, "audit.verify", chain, {"state": verdict.state.name.lower(), "entries": verdict.entries})
    return render(request, "audit/log.html", _context(request, verdict, chain))


@never_cache
@login_required
@require_GET
def export(request: HttpRequest, chain: UUID, form: str) -> HttpResponseBase:
    require_whole(request.user, chain)
    if form not in FORMS:
        raise Http404
    _record(request, "audit.export", chain, {"form": form})
    response = StreamingHttpResponse(exported(chain, form), content_type=FORMS[form][1])
    ending = f"{form}.jsonl" if form == "ocsf" else form
    response["Content-Disposition"] = f'attachment; filename="audit-{chain}.{ending}"'
    return response


@login_required
@require_GET
def verifier(request: HttpRequest) -> HttpResponse:
    """The script that checks an exported log without this site."""
    response = HttpResponse(inspect.getsource(standalone), content_type="text/x-python; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="verify_audit.py"'
    return response


def _context(request: HttpRequest, verdict: Verdict | None, chain: UUID | None = None) -> dict[str, Any]:
    chains = chains_of(request.user)
    if not chains:
        raise Http404
    filters = Filters(request.GET)
    valid = filters.is_valid()
    asked_for: UUID | None = chain or (filters.cleaned_data["chain"] if valid else None)
    chain = asked_for or next(iter(chains))
    everything = entries_for(request.user, chain)
    found = filters.applied(everything) if valid else everything.none()
    page = Paginator(found.order_by("-id"), PAGE_ROWS).get_page(request.GET.get("page"))
    whole = may_prove(request.user, chain)
    query = request.GET.copy()
    query.pop("page", None)
    return {
        "chains": chains,
        "chain": chain,
        "chain_name": chains[chain],
        "filters": filters,
        "actions": sorted(ACTIONS),
        "page": page,
        "rows": _rows(list(page)),
        "days": _days(found),
        "query": query.urlencode(),
        "whole": whole,
        "verdict": verdict,
        "checkpoint": newest(chain) if whole else "",
        "public_key": base64.b64encode(public_key()).decode() if whole else "",
        "forms": list(FORMS),
        "lag_s": sealer_lag_s(),
    }


def _rows(entries: list[AuditEntry]) -> list[dict[str, Any]]:
    """One query for all names of the page: the display name stands encrypted in each entry, the living one beside it."""
    who = {each.subject_uuid for each in entries}
    names = {each.uuid: str(each) for each in AuditSubject.objects.filter(uuid__in=who)}
    return [{"entry": each, "actor": names.get(each.subject_uuid, "unknown")} for each in entries]


def _days(found: QuerySet[AuditEntry]) -> list[dict[str, Any]]:
    """Entries by day, newest days last, with the share of the busiest one for the meter."""
    counted = found.order_by().annotate(day=TruncDay("at")).values("day").annotate(count=Count("id")).order_by("-day")
    days = list(counted[:DAYS_SHOWN])[::-1]
    most = max((day["count"] for day in days), default=1)
    return [{**day, "most": most} for day in days]


def _record(request: HttpRequest, action: str, chain: UUID, details: dict[str, Any]) -> None:
    record(
        action,
        actor=request.user.get_username(),
        object_type="chain",
        object_id=chain,
        team_uuid=None if chain == INSTANCE_CHAIN else chain,
        details=details,
    )
