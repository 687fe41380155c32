"""Organisations above teams. Each team that exists gets one of its own under its own uuid, so that its audit chain goes on.

Roles over a whole organisation move there; owners and admins, who saw their team's content until now, stay in it as leads.
"""

import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models

ABOVE_TEAMS = ("auditor", "admin", "owner")
EVERY_SCOPE = ["read", "run", "keep"]


def found_organisations(apps, schema_editor):
    Team = apps.get_model("teams", "Team")
    Organisation = apps.get_model("teams", "Organisation")
    OrganisationMembership = apps.get_model("teams", "OrganisationMembership")
    Membership = apps.get_model("teams", "Membership")
    for team in Team.objects.all():
        organisation = Organisation.objects.create(uuid=team.uuid, slug=team.slug, name=team.name)
        Team.objects.filter(pk=team.pk).update(organisation=organisation)
        for held in Membership.objects.filter(team=team, role__in=ABOVE_TEAMS):
            OrganisationMembership.objects.create(organisation=organisation, user_id=held.user_id, role=held.role)
            if held.role == "auditor":
                held.delete()
            else:
                held.role = "lead"
                held.save()
    apps.get_model("teams", "ApiToken").objects.update(scopes=EVERY_SCOPE)


class Migration(migrations.Migration):
    dependencies = [
        ("teams", "0002_api_token"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Organisation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("slug", models.SlugField(unique=True)),
                ("name", models.CharField(max_length=200)),
                ("require_mfa", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="OrganisationMembership",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("auditor", "Auditor"), ("admin", "Admin"), ("owner", "Owner")], max_length=16
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "organisation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to="teams.organisation",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="organisation_roles",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="team",
            name="organisation",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="teams", to="teams.organisation"
            ),
        ),
        migrations.AddField(model_name="apitoken", name="scopes", field=models.JSONField(default=list)),
        migrations.RunPython(found_organisations, migrations.RunPython.noop),
    ]
