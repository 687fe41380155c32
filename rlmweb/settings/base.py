"""Settings that every installation shares. Each variable is described in
rlmweb/docs/settings.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlmweb.settings import env
from rlmweb.settings.logs import logging_config

ROOT_DIR = Path(__file__).resolve().parent.parent.parent
GIB = 2**30

# Where things are kept
DATA_DIR = env.folder("RLMWEB_DATA_DIR", ROOT_DIR / ".data")
BLOB_DIR = env.folder("RLMWEB_BLOB_DIR", DATA_DIR / "blobs")
# Empty: the folder BLOB_DIR. Keys that are empty: where boto3 looks by itself.
BLOB_STORE_URL = env.text("RLMWEB_BLOB_STORE_URL")
BLOB_STORE_ACCESS_KEY = env.text("RLMWEB_BLOB_STORE_ACCESS_KEY")
BLOB_STORE_SECRET_KEY = env.text("RLMWEB_BLOB_STORE_SECRET_KEY")
BLOB_CACHE_DIR = env.folder("RLMWEB_BLOB_CACHE_DIR", DATA_DIR / "blob-cache")
BLOB_CACHE_BYTES = env.whole_number("RLMWEB_BLOB_CACHE_BYTES", 4 * GIB, least=16 * 2**20, most=2**50)
UPLOAD_DIR = env.folder("RLMWEB_UPLOAD_DIR", DATA_DIR / "uploads")
MEDIA_ROOT = UPLOAD_DIR

# Who may come in
SECRET_KEY = env.text("RLMWEB_SECRET_KEY")
SECRET_KEYS_AT_REST = env.fernet_keys("RLMWEB_KEYS")
SINGLE_USER = env.flag("RLMWEB_SINGLE_USER", False)
OPEN_TOKEN = env.text("RLMWEB_OPEN_TOKEN")
DEBUG = env.flag("RLMWEB_DEBUG", False)
ALLOWED_HOSTS = list(env.words("RLMWEB_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]")))
CSRF_TRUSTED_ORIGINS = list(env.origins("RLMWEB_CSRF_TRUSTED_ORIGINS"))

# What sessions may use
MODEL_HOSTS = env.words("RLMWEB_MODEL_HOSTS")
PROVIDER_HOSTS = env.words("RLMWEB_PROVIDER_HOSTS")
# Marks sandboxes at a vendor as ours; without it a mark is derived from the secret key.
INSTALLATION = env.text("RLMWEB_INSTALLATION")
CONTEXT_PATHS = env.folders("RLMWEB_CONTEXT_PATHS")
CONTEXT_HOSTS = env.words("RLMWEB_CONTEXT_HOSTS")
UPLOAD_MAX_BYTES = env.whole_number("RLMWEB_UPLOAD_MAX_BYTES", GIB, least=1024, most=64 * GIB)
# What is kept: see runs.store.policy. Contents put again look new only when they are an hour old, hence two hours.
SNAPSHOT_DAYS = env.whole_number("RLMWEB_SNAPSHOT_DAYS", 90, least=1, most=36_500)
SNAPSHOT_KEEP_EVERY = env.whole_number("RLMWEB_SNAPSHOT_KEEP_EVERY", 10, least=1, most=1_000_000)
UNUSED_HOURS = env.whole_number("RLMWEB_UNUSED_HOURS", 24, least=2, most=36_500 * 24)
# Branches of one rollout that run at a time.
ROLLOUT_BRANCHES = env.whole_number("RLMWEB_ROLLOUT_BRANCHES", 4, least=1, most=256)
LM_FANOUT = env.whole_number("RLMWEB_LM_FANOUT", 32, least=1, most=1024)
SCRIPT_LEDGER_DIR = env.folder("RLMWEB_SCRIPT_LEDGER_DIR", None)
LOCAL_SANDBOX_SOCKET = env.folder("RLMWEB_LOCAL_SANDBOX_SOCKET", DATA_DIR / "run" / "sandboxes.sock")

# Daphne's own app is left out: it only changes `runserver`, and it loads Twisted (16 MB) in every worker.
INSTALLED_APPS = [
    "channels",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rlmweb",
    "rlmweb.teams",
    "rlmweb.audit",
    "rlmweb.quotas",
    "sandboxes",
    "runs",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "rlmweb.teams.middleware.ask_to_sign_in",
    "rlmweb.audit.middleware.note_circumstances",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "rlmweb.quotas.middleware.show_refusals",
    "allauth.account.middleware.AccountMiddleware",
    "rlmweb.teams.policies.middleware.PolicyMiddleware",
    "rlmweb.teams.middleware.ask_for_second_factor",
]

ROOT_URLCONF = "rlmweb.urls"
ASGI_APPLICATION = "rlmweb.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "rlmweb.teams.context.for_the_bar",
            ]
        },
    }
]

# The record: PostgreSQL. A pool, because views, consumers and worker threads come and go; a connection is
# checked before use so that a restarted database costs nobody a failed request.
DATABASES: dict[str, dict[str, Any]] = {"default": env.database("DATABASE_URL", "postgresql://rlmweb@localhost/rlmweb")}
# A worker's thread holds one for as long as its task runs, so the pool is larger than the number of threads.
POOL_SIZE = env.whole_number("RLMWEB_DATABASE_POOL", 32, least=4, most=1000)
DATABASE_POOL: dict[str, float] = {"min_size": 0, "max_size": POOL_SIZE, "timeout": 10, "max_idle": 60}
DATABASES["default"].setdefault("OPTIONS", {})["pool"] = DATABASE_POOL
DATABASES["default"]["CONN_MAX_AGE"] = 0
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The doorbell: Redis or Valkey. It may lose everything at any time; nothing that matters is only there.
REDIS_URL = env.redis("REDIS_URL", "redis://localhost:6379/0")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # redis-py 8 reads with a timeout of 5 s by default, which closes every websocket that is idle for
        # longer.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "rlmweb"},
    }
}

# The work: Celery, JSON only. The database decides who owns a step; the broker is only a wake-up.
STEP_QUEUE = "rlmweb.steps"
CELERY_BROKER_URL = env.broker_of(REDIS_URL)
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_EVENT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_DEFAULT_QUEUE = STEP_QUEUE
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Without these kombu looks for lost messages only every 100 s, whatever the timeout says.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    # A step that is still running must not be delivered again; steps are fenced all the same.
    "visibility_timeout": 6 * 3600,
    "global_keyprefix": "rlmweb:",
    "socket_keepalive": True,
    # Somebody waits for the answer of the page that sends a task, and the reconciler sends it later anyway.
    "socket_connect_timeout": 3,
}

# Jobs that every worker runs on a clock, at most one worker at a time: dotted path -> seconds between runs.
PERIODIC_JOBS: dict[str, float] = {
    "rlmweb.audit.reads.seal_reads": 1.0,
    "rlmweb.audit.checkpoints.make_due_checkpoints": 30.0,
    "rlmweb.audit.retention.purge_due": 3600.0,
    "runs.services.reconciler.reconcile": 2.0,
    "runs.services.reconciler.end_orphans": 30.0,
    "runs.services.quota_boxes.keep_reservations": 5.0,
    # Looks whether the check of the day is due.
    "runs.services.quota_truth.check_daily": 600.0,
    "runs.services.policy.stop_forbidden": 20.0,
    "runs.replay.rollouts.keeping.keep_rollouts": 2.0,
    # Looks whether the collection of the day is due; a task does it.
    "runs.store.running.collect_daily": 600.0,
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    }
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_NAME = "rlmweb_session"
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "rlmweb_csrf"
CSRF_COOKIE_HTTPONLY = False  # htmx reads it into a header
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"

# Signing in: passwords, second factors and single sign-on are django-allauth's.
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
ACCOUNT_ADAPTER = "rlmweb.teams.accounts.Accounts"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
# Nobody gains anything by an address: roles come from an invitation's code.
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "/login/"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = False
MFA_ADAPTER = "rlmweb.teams.accounts.SecondFactors"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "rlmweb"
SOCIALACCOUNT_ADAPTER = "rlmweb.teams.accounts.SingleSignOn"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS = env.single_sign_on(
    env.text("RLMWEB_OIDC_URL"),
    env.text("RLMWEB_OIDC_CLIENT_ID"),
    env.text("RLMWEB_OIDC_SECRET"),
    env.text("RLMWEB_OIDC_NAME"),
)
# Without a mail server invitations are handed over by their sender, and passwords are reset by a new invitation.
globals().update(env.email("RLMWEB_EMAIL_URL"))
DEFAULT_FROM_EMAIL = env.text("RLMWEB_EMAIL_FROM") or "rlmweb@localhost"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

STATIC_URL = "/static/"
STATIC_ROOT = env.folder("RLMWEB_STATIC_DIR", ROOT_DIR / "staticfiles")
STATICFILES_DIRS = [ROOT_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "rlmweb.staticfiles.PlotlyFinder",
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 2**20

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

LOG_LEVEL = env.text("RLMWEB_LOG_LEVEL", "INFO").upper()
LOGGING = logging_config(LOG_LEVEL)

# The audit log: see rlmweb/docs/audit.md. Checkpoints belong on another volume than the database.
AUDIT_KEY_FILE = env.folder("RLMWEB_AUDIT_KEY_FILE", DATA_DIR / "audit" / "checkpoint.key")
AUDIT_CHECKPOINT_DIR = env.folder("RLMWEB_AUDIT_CHECKPOINT_DIR", DATA_DIR / "audit")
AUDIT_DAYS = env.whole_number("RLMWEB_AUDIT_DAYS", 400, least=1, most=36_500)
