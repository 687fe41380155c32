"""Production: everything comes from the environment, and what is missing or odd is an error before anything
serves.
"""

from django.core.exceptions import ImproperlyConfigured

from rlmweb.settings import env
from rlmweb.settings.base import *  # noqa: F403
from rlmweb.settings.base import SECRET_KEY, SECRET_KEYS_AT_REST

SECURE_SSL_REDIRECT = env.flag("RLMWEB_HTTPS", True)
HSTS_SUBDOMAINS = env.flag("RLMWEB_HSTS_SUBDOMAINS", True)

env.refuse_problems()
if len(SECRET_KEY) < 32:
    raise ImproperlyConfigured("RLMWEB_SECRET_KEY must be set to at least 32 random characters.")
if not SECRET_KEYS_AT_REST:
    raise ImproperlyConfigured(
        "RLMWEB_KEYS must hold at least one Fernet key; the first encrypts, the others still decrypt."
    )

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "rlmweb.staticfiles.HashedModulesStorage"},
}
# TLS ends at a proxy that must set this header itself and drop what the client sent.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE_SSL_REDIRECT else 0
# Names below this host are asked for over TLS only, too; off where one of them must be reached without.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_SSL_REDIRECT and HSTS_SUBDOMAINS
SESSION_COOKIE_SECURE = SECURE_SSL_REDIRECT
CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT
