"""Sending tasks. The broker is only a wake-up: what is due stands in the outbox, written with the change that wants it.

After the commit the messages are sent and their rows deleted; a message whose sender died in between is sent by the
reconciler. A task may therefore arrive twice, and the claim of a step refuses the second.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError

from runs.models import OutboxMessage

logger = logging.getLogger(__name__)

EXECUTE_STEP = "runs.execute_step"


def send_on_commit(task: str, args_list: Iterable[Sequence[Any]]) -> None:
    """Send `task` once for each of `args_list` when the running transaction commits."""
    messages = OutboxMessage.objects.bulk_create(
        [OutboxMessage(task=task, args=list(args)) for args in args_list], batch_size=1000
    )
    if messages:
        transaction.on_commit(lambda: send(messages))


def send(messages: Sequence[OutboxMessage]) -> int:
    """Send and forget `messages`; returns how many went. What cannot be sent stays in the outbox."""
    sent = []
    try:
        with current_app.producer_or_acquire() as producer:
            for message in messages:
                current_app.send_task(
                    message.task, args=message.args, queue=settings.STEP_QUEUE, producer=producer, retry=False
                )
                sent.append(message.pk)
    except (OperationalError, OSError) as error:
        logger.warning("broker not reached, %d messages stay in the outbox: %s", len(messages) - len(sent), error)
    OutboxMessage.objects.filter(pk__in=sent).delete()
    return len(sent)
