"""The Celery application. Tasks live in `<app>/tasks.py`; settings are the CELERY_... ones of Django."""

from __future__ import annotations

import os

from celery import Celery
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

    sender.conf.task_queues = [Queue(settings.STEP_QUEUE), Queue(settings.CONTROL_QUEUE)]


@celeryd_init.connect
def add_clock(**_: object) -> None:
    """Only a worker needs the clock, so only a worker imports it."""
    from rlmweb.periodic import Periodic

    app.steps["worker"].add(Periodic)
