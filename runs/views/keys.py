"""Keys: those of the team for language models, and the person's own tokens for the API."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from rlmweb.teams.tokens import make_token, revoke_token
from runs.access import actor_of, credential_for, keys_shown_to, teams_of, teams_to_keep_keys_of, tokens_of
from runs.forms import KeyForm, TokenForm
from runs.services.credentials import NameTaken, add_credential, delete_credential


@never_cache
@login_required
@sensitive_post_parameters("key")
@require_http_methods(["GET", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    """The page of keys; a POST adds a key for a language model."""
    keys_shown_to(request.user)
    form = KeyForm(teams_to_keep_keys_of(request.user), request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and _add(request, form):
        messages.success(request, f"The key {form.cleaned_data['name']} is stored.")
        return redirect("runs:keys")
    return _page(request, form, TokenForm(teams_of(request.user)), status=422 if form.errors else 200)


@login_required
@require_POST
def key_delete(request: HttpRequest, uuid: UUID) -> HttpResponse:
    credential = credential_for(request.user, uuid, "delete")
    delete_credential(credential, actor=actor_of(request.user, "web"))
    messages.success(request, f"The key {credential.name} is deleted.")
    return redirect("runs:keys")


@never_cache
@login_required
@require_POST
def token_new(request: HttpRequest) -> HttpResponse:
    """Make a token and show it, once: this answer is the only place where it ever stands."""
    keys_shown_to(request.user)
    form = TokenForm(teams_of(request.user), request.POST)
    if not form.is_valid():
        return _page(request, KeyForm(teams_to_keep_keys_of(request.user)), form, status=422)
    wanted = form.cleaned_data
    row, plain = make_token(request.user, wanted["team"], wanted["name"], scopes=wanted["scopes"], days=wanted["days"])
    blank = TokenForm(teams_of(request.user))
    return _page(request, KeyForm(teams_to_keep_keys_of(request.user)), blank, new_token=(row.name, plain))


@login_required
@require_POST
def token_revoke(request: HttpRequest, uuid: UUID) -> HttpResponse:
    row = get_object_or_404(tokens_of(request.user).select_related("team"), uuid=uuid)
    revoke_token(row, user=request.user)
    messages.success(request, f"The token {row.name} no longer opens anything.")
    return redirect("runs:keys")


def _add(request: HttpRequest, form: KeyForm) -> bool:
    cleaned = form.cleaned_data
    try:
        add_credential(
            actor=actor_of(request.user, "web"),
            team=cleaned["team"],
            name=cleaned["name"],
            api=cleaned["api"],
            base_url=cleaned["base_url"],
            key=cleaned["key"],
            input_price_usd_per_million=cleaned["input_price"],
            output_price_usd_per_million=cleaned["output_price"],
        )
    except NameTaken as error:
        form.add_error("name", str(error))
        return False
    return True


def _page(
    request: HttpRequest,
    form: KeyForm,
    token_form: TokenForm,
    *,
    status: int = 200,
    new_token: tuple[str, str] | None = None,
) -> HttpResponse:
    deletable = set(teams_to_keep_keys_of(request.user).values_list("pk", flat=True))
    credentials = keys_shown_to(request.user).select_related("team").order_by("team__name", "name")
    context = {
        "form": form,
        "token_form": token_form,
        "new_token": new_token,
        "may_add": bool(deletable),
        "credentials": [(credential, credential.team_id in deletable) for credential in credentials],
        "tokens": tokens_of(request.user).select_related("team"),
    }
    return render(request, "runs/keys.html", context, status=status)
