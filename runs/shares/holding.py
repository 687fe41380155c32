"""Who has opened a link: a signed cookie that is sent to this link's addresses only.

It holds nothing but the link and a digest of what opened it, so that a new password or token would end it; whether the link
still counts is asked of the database at every use.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.core import signing
from django.http import HttpResponse
from django.urls import reverse
from django.utils.crypto import salted_hmac

from runs.models import Share

SALT = "runs.shares.holding"
HOURS = 12
COOKIE = "rlmweb_share"


def hold(response: HttpResponse, share: Share, *, secure: bool) -> None:
    """The browser may look at the link for some hours; then it opens it again with the token that it keeps."""
    response.set_cookie(
        COOKIE,
        signing.dumps([share.public_id, _digest(share)], salt=SALT),
        max_age=HOURS * 3600,
        path=reverse("runs:shared", args=[share.public_id]),
        secure=secure,
        httponly=True,
        samesite="Strict",
    )


def holds(cookies: Mapping[str, str], share: Share) -> bool:
    try:
        said = signing.loads(cookies.get(COOKIE, ""), salt=SALT, max_age=HOURS * 3600)
    except signing.BadSignature:
        return False
    return bool(said == [share.public_id, _digest(share)])


def _digest(share: Share) -> str:
    """The cookie is signed and not encrypted: no part of what is stored may stand in it."""
    return salted_hmac(SALT, f"{share.token_hmac} {share.password}", algorithm="sha256").hexdigest()[:32]
