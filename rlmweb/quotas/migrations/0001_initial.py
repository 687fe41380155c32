import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Payer",
            fields=[
                ("session_uuid", models.UUIDField(primary_key=True, serialize=False)),
                ("scopes", models.JSONField()),
            ],
        ),
        migrations.CreateModel(
            name="Waiting",
            fields=[
                ("step_uuid", models.UUIDField(primary_key=True, serialize=False)),
                ("session_uuid", models.UUIDField(db_index=True)),
                ("scope_kind", models.CharField(max_length=16)),
                ("scope_uuid", models.UUIDField()),
                ("resource", models.CharField(max_length=48)),
                ("period", models.CharField(max_length=8)),
                ("requested", models.BigIntegerField()),
                ("sentence", models.TextField()),
                ("since", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name="Balance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("scope_kind", models.CharField(max_length=16)),
                ("scope_uuid", models.UUIDField()),
                ("resource", models.CharField(max_length=48)),
                ("period", models.CharField(max_length=8)),
                ("period_start", models.DateField()),
                ("used", models.BigIntegerField(default=0)),
                ("reserved", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("scope_uuid", "resource", "period", "period_start", "scope_kind"),
                        name="one_balance_per_period",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reserved__gte", 0), ("used__gte", 0)), name="balance_is_not_negative"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[("reserve", "Reserve"), ("settle", "Settle"), ("release", "Release")], max_length=8
                    ),
                ),
                ("reservation", models.UUIDField()),
                ("session_uuid", models.UUIDField(null=True)),
                ("organisation_uuid", models.UUIDField(null=True)),
                ("team_uuid", models.UUIDField(null=True)),
                ("user_uuid", models.UUIDField(null=True)),
                ("key_uuid", models.UUIDField(null=True)),
                ("resource", models.CharField(max_length=48)),
                ("reserved", models.BigIntegerField()),
                ("used", models.BigIntegerField()),
                ("day", models.DateField()),
                ("price_version", models.CharField(blank=True, max_length=64)),
            ],
            options={
                "ordering": ("id",),
                "indexes": [
                    models.Index(fields=["session_uuid", "resource"], name="ledger_of_a_session"),
                    models.Index(fields=["resource", "day"], name="ledger_of_a_day"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Quota",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "scope_kind",
                    models.CharField(
                        choices=[
                            ("installation", "Installation"),
                            ("organisation", "Organisation"),
                            ("team", "Team"),
                            ("user", "Person"),
                            ("key", "API key"),
                        ],
                        max_length=16,
                    ),
                ),
                ("scope_uuid", models.UUIDField()),
                ("resource", models.CharField(max_length=48)),
                ("limit", models.BigIntegerField()),
                ("soft_percent", models.PositiveSmallIntegerField(default=80)),
                (
                    "period",
                    models.CharField(
                        choices=[("day", "a day"), ("month", "a month"), ("none", "at any time")], max_length=8
                    ),
                ),
                (
                    "on_exceed",
                    models.CharField(
                        choices=[("pause", "Wait until there is room"), ("stop", "End with the partial answer")],
                        default="pause",
                        max_length=8,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=200)),
                ("set_by", models.CharField(max_length=200)),
                ("set_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "ordering": ("scope_kind", "resource", "period"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("scope_kind", "scope_uuid", "resource", "period"),
                        name="one_quota_per_scope_and_resource",
                    ),
                    models.CheckConstraint(condition=models.Q(("limit__gte", 0)), name="quota_limit_is_not_negative"),
                    models.CheckConstraint(
                        condition=models.Q(("soft_percent__gte", 1), ("soft_percent__lte", 100)),
                        name="quota_soft_percent_is_one",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("holder", models.CharField(max_length=100)),
                ("bound_to", models.UUIDField(null=True)),
                ("session_uuid", models.UUIDField(db_index=True, null=True)),
                ("scopes", models.JSONField()),
                ("holds", models.JSONField()),
                ("day", models.DateField()),
                ("price_version", models.CharField(blank=True, max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("settled", "Settled"), ("released", "Released")],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("lease_expires_at", models.DateTimeField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("closed_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        models.F("lease_expires_at"),
                        condition=models.Q(("state", "open")),
                        name="open_reservations_by_lease",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")),
                        fields=("holder",),
                        name="one_open_reservation_per_holder",
                    )
                ],
            },
        ),
    ]
