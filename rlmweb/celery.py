"""The Celery application. Tasks live in `<app>/tasks.py`; settings are the CELERY_... ones of Django."""

from __future__ import annotations

import os

from celery import Celery
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rlmweb.settings.dev")

app = Celery("rlmweb")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue("rlmweb.steps"), Queue("rlmweb.control")]
app.autodiscover_tasks()
