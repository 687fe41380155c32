from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TeamsConfig(AppConfig):
    name = "rlmweb.teams"
    label = "teams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from rlmweb.teams.services import prepare_installation

        post_migrate.connect(prepare_installation, sender=self, dispatch_uid="teams.prepare_installation")
