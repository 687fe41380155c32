from __future__ import annotations

import uuid

from django.db import migrations, models

INSTANCE = uuid.UUID(int=0)


class Migration(migrations.Migration):
    """Room for the chains. The columns that 0003 fills are loose here and strict in 0003."""

    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="AuditSubject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("name", models.CharField(db_index=True, max_length=200)),
                ("sealed_key", models.BinaryField(default=b"", editable=False)),
                ("erased_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("erased_at__isnull", True)),
                        fields=("name",),
                        name="one_living_subject_per_name",
                    )
                ]
            },
        ),
        migrations.CreateModel(
            name="ChainHead",
            fields=[
                ("chain", models.UUIDField(primary_key=True, serialize=False)),
                ("size", models.BigIntegerField(default=0)),
                ("hash", models.BinaryField(default=bytes(32))),
            ],
        ),
        migrations.CreateModel(
            name="AuditSegment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("chain", models.UUIDField()),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField()),
                ("prev_hash", models.BinaryField()),
                ("last_hash", models.BinaryField()),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("purged_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("chain", "first_seq"), name="one_segment_per_start")
                ]
            },
        ),
        migrations.CreateModel(
            name="LegalHold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("chain", models.UUIDField(blank=True, null=True)),
                ("subject_uuid", models.UUIDField(blank=True, null=True)),
                ("reason", models.CharField(max_length=500)),
                ("placed_at", models.DateTimeField(auto_now_add=True)),
                ("released_at", models.DateTimeField(editable=False, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="StagedRead",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("body", models.TextField()),
                ("chain", models.UUIDField(db_index=True)),
                ("staged_at", models.DateTimeField(auto_now_add=True)),
                ("sealed_in", models.UUIDField(db_index=True, null=True)),
                ("leaf", models.IntegerField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("sealed_in__isnull", True)), fields=["id"], name="reads_to_seal"
                    )
                ]
            },
        ),
        migrations.AddField("auditentry", "chain", models.UUIDField(default=INSTANCE, editable=False)),
        migrations.AddField("auditentry", "seq", models.BigIntegerField(editable=False, null=True)),
        migrations.AddField("auditentry", "recorded_at", models.DateTimeField(editable=False, null=True)),
        migrations.AddField("auditentry", "prev_hash", models.BinaryField(editable=False, null=True)),
        migrations.AddField("auditentry", "hash", models.BinaryField(editable=False, null=True)),
        migrations.AddField("auditentry", "body", models.TextField(default="", editable=False)),
        migrations.AddField("auditentry", "subject_uuid", models.UUIDField(default=INSTANCE)),
    ]
