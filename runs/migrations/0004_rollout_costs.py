"""What a rollout may cost and what scoring its branches did cost."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_node_state")]

    operations = [
        migrations.AddField("rollout", "max_cost_usd", models.FloatField(blank=True, null=True)),
        migrations.AddField(
            "rolloutbranch", "scoring_micro_usd", models.BigIntegerField(db_default=0, default=0, null=True)
        ),
    ]
