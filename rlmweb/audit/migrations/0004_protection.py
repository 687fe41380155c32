from __future__ import annotations

from pathlib import Path

from django.db import migrations

FORWARD = (Path(__file__).parent / "0004_protection.sql").read_text()
BACKWARD = """
DROP TRIGGER audit_refuse_segment_change ON audit_auditsegment;
DROP TRIGGER audit_refuse_truncate ON audit_auditentry;
DROP TRIGGER audit_refuse_delete ON audit_auditentry;
DROP TRIGGER audit_refuse_update ON audit_auditentry;
DROP TRIGGER audit_number ON audit_auditentry;
DROP TRIGGER audit_unnumbered ON audit_auditentry;
DROP FUNCTION audit_refuse_change(), audit_refuse_delete(), audit_refuse_update(), audit_number(), audit_unnumbered();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_old_entries")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
