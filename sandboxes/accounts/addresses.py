"""Which addresses a team may enter for a vendor: the vendor's own, and those that the installation allows.

The server connects to them, with the team's key: an address inside of the installation's own network must not be
reached by entering it into a form.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

OWN_HOSTS = {
    "modal": ("modal.com",),
    "e2b": ("e2b.dev", "e2b.app"),
    "daytona": ("daytona.io",),
    "northflank": ("northflank.com",),
    "blaxel": ("blaxel.ai",),
    "runloop": ("runloop.ai",),
    "cloudflare": ("workers.dev",),
    "cloudflare_worker": ("workers.dev",),
}
"""Domains of the vendors; everything below them counts, by HTTPS on its usual port."""


class RefusedAddress(ValueError):
    """The address is none that this installation connects to; the message says what to do."""


def check_address(vendor: str, url: str) -> None:
    """Raises `RefusedAddress`."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise RefusedAddress(f"The address cannot be read: {error}") from error
    if not url.isascii() or "\\" in url or parts.username is not None or parts.query or parts.fragment:
        raise RefusedAddress("The address must be plain: no user name, query, fragment or special characters.")
    if parts.scheme not in ("https", "http") or not host:
        raise RefusedAddress("The address must start with https:// and name a host.")
    own = any(host == domain or host.endswith(f".{domain}") for domain in OWN_HOSTS.get(vendor, ()))
    if own and parts.scheme == "https" and port in (None, 443):
        return
    named = f"{host}:{port}" if port is not None else host
    if named in settings.PROVIDER_HOSTS:
        return
    raise RefusedAddress(
        f"{named} is not an address of the vendor that this installation knows. An administrator can allow it with"
        " RLMWEB_PROVIDER_HOSTS."
    )
