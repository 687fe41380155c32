from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0005_store")]

    operations = [migrations.AddField("lmcall", "reserved_output_tokens", models.IntegerField(null=True))]
