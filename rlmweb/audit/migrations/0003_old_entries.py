from __future__ import annotations

import uuid

from django.db import migrations, models

from rlmweb.audit.standalone import GENESIS, entry_hash

INSTANCE = uuid.UUID(int=0)


def chain_old_entries(apps, schema_editor) -> None:
    """Entries from before the chains, in the order in which they were written."""
    # Here and not above: they read the settings, which planning a migration must not.
    from rlmweb.audit.body import canonical, time_text
    from rlmweb.audit.subjects import closed, new_sealed_key

    Entry, Head, Subject = (apps.get_model("audit", name) for name in ("AuditEntry", "ChainHead", "AuditSubject"))
    heads: dict[uuid.UUID, tuple[int, bytes]] = {}
    subjects: dict = {}
    for entry in Entry.objects.order_by("id").iterator(chunk_size=1000):
        subject = subjects.get(entry.actor)
        if subject is None:
            subject = subjects[entry.actor] = Subject.objects.create(name=entry.actor, sealed_key=new_sealed_key())
        who = str(subject.uuid)
        entry.chain = entry.team_uuid or INSTANCE
        entry.subject_uuid = subject.uuid
        entry.recorded_at = entry.at
        size, entry.prev_hash = heads.get(entry.chain, (0, GENESIS))
        entry.seq = size + 1
        personal = {"actor": entry.actor, "ip": "", "user_agent": ""}
        entry.body = canonical(
            {
                "schema": 0,  # less was recorded then
                "uuid": entry.uuid,
                "at": time_text(entry.at),
                "team_uuid": entry.team_uuid,
                "subject_uuid": subject.uuid,
                "action": entry.action,
                "outcome": entry.outcome,
                "object_type": entry.object_type,
                "object_id": entry.object_id,
                "source": entry.source,
                "personal": closed(subject.sealed_key, personal, who),
                "details": entry.details,
            }
        )
        since_1970 = entry.recorded_at.timestamp()
        recorded_us = int(since_1970) * 1_000_000 + entry.recorded_at.microsecond
        entry.hash = entry_hash(entry.chain.bytes, entry.seq, recorded_us, entry.prev_hash, entry.body.encode())
        heads[entry.chain] = (entry.seq, entry.hash)
        entry.save()
    Head.objects.bulk_create([Head(chain=chain, size=size, hash=last) for chain, (size, last) in heads.items()])


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_chains")]

    operations = [
        migrations.RunPython(chain_old_entries, migrations.RunPython.noop),
        migrations.RemoveField("auditentry", "actor"),
        migrations.RemoveField("auditentry", "details"),
        migrations.AlterField("auditentry", "uuid", models.UUIDField(editable=False, unique=True)),
        migrations.AlterField("auditentry", "at", models.DateTimeField(db_index=True)),
        migrations.AlterField("auditentry", "body", models.TextField(editable=False)),
        migrations.AlterField("auditentry", "action", models.CharField(max_length=64)),
        migrations.AlterField("auditentry", "team_uuid", models.UUIDField(null=True)),
        migrations.AddIndex("auditentry", models.Index(fields=["object_id"], name="entries_of_an_object")),
        migrations.AlterField("auditentry", "subject_uuid", models.UUIDField(db_index=True)),
        migrations.AddConstraint(
            "auditentry", models.UniqueConstraint(fields=("chain", "seq"), name="one_entry_per_number")
        ),
    ]
