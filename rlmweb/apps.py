from __future__ import annotations

from django.apps import AppConfig


class RlmwebConfig(AppConfig):
    """Wiring: the Celery application and the checks of the configuration."""

    name = "rlmweb"
    label = "rlmweb"
    verbose_name = "rlmweb"

    def ready(self) -> None:
        # Tasks are sent through Celery's current application, which is ours only once it is imported.
        from rlmweb import celery, checks  # noqa: F401
