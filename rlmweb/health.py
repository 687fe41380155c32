"""`/healthz`: can this web process reach what it needs, and is a worker alive? And the worker's own sign of
life.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from rlmweb.audit.reads import sealer_lag_s
from rlmweb.boot.probe import WORKER_SILENT_AFTER_S, worker_sign

WORKERS_KEY = "rlmweb:workers"
FORGOTTEN_AFTER_S = 3600.0
TIMEOUT_S = 2.0
READS_SEALED_WITHIN_S = 60.0
"""They wait a second when a worker is well."""

log = logging.getLogger(__name__)


class Unhealthy(Exception):
    """A part does not do its work; the text is for operators and holds no address and no secret."""


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 when every part works and 503 otherwise, with one word a part. `?only=web` asks for this process
    alone.
    """
    parts = {} if request.GET.get("only") == "web" else {name: _state(check) for name, check in CHECKS.items()}
    healthy = all(state == "ok" for state in parts.values())
    return JsonResponse({"healthy": healthy, "parts": {"web": "ok", **parts}}, status=200 if healthy else 503)


def _state(check: Callable[[], None]) -> str:
    try:
        check()
    except Unhealthy as problem:
        return str(problem)
    return "ok"


def check_database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        log.warning("the database cannot be reached", extra={"error": type(error).__name__})
        raise Unhealthy("unreachable") from error


def check_redis() -> None:
    try:
        with _client() as client:
            client.ping()
    except redis.RedisError as error:
        log.warning("redis cannot be reached", extra={"error": type(error).__name__})
        raise Unhealthy("unreachable") from error


def check_worker() -> None:
    try:
        with _client() as client:
            alive = client.zcount(WORKERS_KEY, time.time() - WORKER_SILENT_AFTER_S, "+inf")
    except redis.RedisError as error:
        raise Unhealthy("unknown") from error
    if not alive:
        raise Unhealthy("no worker")


def check_audit() -> None:
    """Reads of content that are not sealed can still be removed unseen."""
    try:
        if sealer_lag_s() > READS_SEALED_WITHIN_S:
            raise Unhealthy("reads are not sealed")
    except DatabaseError as error:
        raise Unhealthy("unknown") from error


CHECKS: dict[str, Callable[[], None]] = {
    "database": check_database,
    "redis": check_redis,
    "worker": check_worker,
    "audit": check_audit,
}


def record_worker(name: str) -> None:
    """Say that the worker `name` is alive: to this host's probe, and to every web process by way of Redis."""
    sign = worker_sign()
    sign.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sign.touch()
    now_s = time.time()
    with _client() as client, client.pipeline(transaction=False) as pipeline:
        pipeline.zadd(WORKERS_KEY, {name: now_s})
        pipeline.zremrangebyscore(WORKERS_KEY, "-inf", now_s - FORGOTTEN_AFTER_S)
        pipeline.execute()


def forget_worker(name: str) -> None:
    with _client() as client:
        client.zrem(WORKERS_KEY, name)


def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
