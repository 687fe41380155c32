"""The Celery application. Tasks live in `<app>/tasks.py`; settings are the CELERY_... ones of Django."""

from __future__ import annotations

import os
import sys

from celery import Celery, signals
from celery.signals import celeryd_init
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rlmweb.settings.dev")

app = Celery("rlmweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.set_default()  # not only in this thread: views run in others


@app.on_after_configure.connect
def use_our_queues(sender: Celery, **_: object) -> None:
    from django.conf import settings

    sender.conf.task_queues = [Queue(settings.STEP_QUEUE)]


@celeryd_init.connect
def add_clock(**_: object) -> None:
    """Only a worker needs the clock, so only a worker imports it."""
    from rlmweb.periodic import Periodic

    app.steps["worker"].add(Periodic)


SWITCH_INTERVAL_S = 0.0005


@signals.worker_init.connect
def hand_over_sooner(**_: object) -> None:
    """Steps run in threads beside the loop that serves models and sandboxes. Each step goes through that loop several
    times, and with Python's 5 ms a busy thread would keep it waiting each time.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
