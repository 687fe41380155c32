"""Logs as one JSON object a line. What a record says beside its text goes into `extra`: ids yes, prompts never.

The standard library's logging, because structlog loads rich and Twisted: 7 MB in each process that we promise to keep small.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
# Values under these names never reach a log, whoever passes them.
SECRET_FIELDS = frozenset(
    {
        *("prompt", "prompts", "messages", "completion", "reply", "code", "output"),
        *("api_key", "authorization", "cookie", "token", "password", "secret"),
    }
)
REDACTED = "[not logged]"
# What every record has; anything else came in `extra`.
ORDINARY_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line; values that JSON does not know are shown as text."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in ORDINARY_FIELDS:
                line[name] = REDACTED if name in SECRET_FIELDS else value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def logging_config(level: str) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level if level in LEVELS else "INFO"},
        "loggers": {
            # One line a request, a websocket frame or a call to a model says nothing that the events do not.
            **{
                name: {"level": "WARNING"} for name in ("celery", "daphne", "django.channels.server", "httpx", "httpx2")
            },
            # Django would add a handler of its own.
            "django": {"handlers": [], "propagate": True},
        },
    }
