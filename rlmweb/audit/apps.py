from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "rlmweb.audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from rlmweb.audit.signals import connect

        connect()
