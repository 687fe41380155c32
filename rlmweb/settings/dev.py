"""The default: one machine, one person, static files from their folders. What `manage.py up` runs."""

from pathlib import Path

from rlmweb.settings.base import *  # noqa: F403
from rlmweb.settings.base import SECRET_KEY

# `manage.py up` keeps a random key in the data folder; this one serves commands that sign nothing.
SECRET_KEY = SECRET_KEY or "development-only-key-that-signs-nothing-of-value"
WHITENOISE_USE_FINDERS = True
STATIC_ROOT: Path | None = None  # type: ignore[no-redef]  # nothing is collected
# The library takes localhost for a secure origin only when it is told to; a browser does so by itself.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = True
