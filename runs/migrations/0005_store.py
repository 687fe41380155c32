"""What the collection of garbage did, and what it asks of every content."""

from __future__ import annotations

import uuid

import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0004_rollout_costs"),
    ]

    operations = [
        migrations.CreateModel(
            name="StoreRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("dry_run", models.BooleanField()),
                ("policy", models.JSONField()),
                ("report", models.JSONField(default=dict)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("ready", "Waiting"),
                            ("running", "Running"),
                            ("finished", "Finished"),
                            ("failed", "Failed"),
                        ],
                        default="ready",
                        max_length=16,
                    ),
                ),
                ("error_message", models.TextField(blank=True)),
                ("asked_by", models.CharField(max_length=200)),
                ("source", models.CharField(max_length=16)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.AddField(
            model_name="session",
            name="trimmed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="blobuse",
            index=django.contrib.postgres.indexes.HashIndex(fields=["sha256"], name="uses_of_blob"),
        ),
    ]
