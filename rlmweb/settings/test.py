"""What pytest uses: the dev settings on the services that tests/services.py started."""

import secrets

from rlmweb.settings.dev import *  # noqa: F403
from rlmweb.settings.dev import DATABASES

SECRET_KEY = secrets.token_urlsafe(32)
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A pool keeps connections open, and PostgreSQL does not drop or copy a database that somebody is connected
# to.
DATABASES["default"]["OPTIONS"].pop("pool", None)
