from __future__ import annotations

from pathlib import Path

from django.db import migrations

FORWARD = (Path(__file__).parent / "0002_booking.sql").read_text()
BACKWARD = """
DROP TRIGGER quotas_refuse_truncate ON quotas_ledgerentry;
DROP TRIGGER quotas_refuse_change ON quotas_ledgerentry;
DROP TRIGGER quotas_entry_time ON quotas_ledgerentry;
DROP FUNCTION quotas_refuse_change(), quotas_entry_time();
DROP FUNCTION quotas_book(text, uuid, uuid, uuid, uuid, uuid, uuid, text[], boolean[], bigint[], bigint[], date, text, boolean);
"""


class Migration(migrations.Migration):
    dependencies = [("quotas", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
