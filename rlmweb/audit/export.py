"""The log in other programs' forms. Every form yields one record for each entry, in the order of the chain."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from rlmweb.audit.models import AuditEntry
from rlmweb.csv_cells import neutral

OCSF_VERSION = "1.3.0"
ROWS = 2000
CSV_FIELDS = (
    "seq",
    "at",
    "actor",
    "action",
    "outcome",
    "object_type",
    "object_id",
    "source",
    "uuid",
    "hash",
    "details",
)


def exported(chain: UUID, form: str) -> Iterator[str]:
    """Lines with their ends. Raises `KeyError` for a form that `FORMS` lacks."""
    write = FORMS[form][0]
    return write(chain)


def _entries(chain: UUID) -> Iterator[AuditEntry]:
    found = AuditEntry.objects.filter(chain=chain, seq__isnull=False).order_by("seq")
    yield from found.iterator(chunk_size=ROWS)


def _us(moment: datetime | None) -> int:
    assert moment is not None, "A numbered entry has its time."
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


def _jsonl(chain: UUID) -> Iterator[str]:
    """Proves itself: `verify_audit.py` reads it. The last line says how many there are."""
    count = 0
    for entry in _entries(chain):
        row = {
            "chain": str(chain),
            "seq": entry.seq,
            "recorded_us": _us(entry.recorded_at),
            "prev_hash": bytes(entry.prev_hash or b"").hex(),
            "hash": bytes(entry.hash or b"").hex(),
            "body": entry.body,
        }
        yield orjson.dumps(row).decode() + "\n"
        count += 1
    yield orjson.dumps({"end": count}).decode() + "\n"


def _csv(chain: UUID) -> Iterator[str]:
    yield _csv_line(CSV_FIELDS)
    for entry in _entries(chain):
        values = {"hash": bytes(entry.hash or b"").hex(), "details": orjson.dumps(entry.details).decode()}
        yield _csv_line([values.get(name) or getattr(entry, name) for name in CSV_FIELDS])


def _csv_line(values: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([neutral(str(value)) for value in values])
    return buffer.getvalue()


def _cef(chain: UUID) -> Iterator[str]:
    severity = {"success": 3, "denied": 6, "error": 7}
    for entry in _entries(chain):
        head = ("rlmweb", "rlmweb", "1", entry.action, entry.action, str(severity.get(entry.outcome, 5)))
        fields = {
            "rt": str(_us(entry.recorded_at) // 1000),
            "suser": entry.actor,
            "outcome": entry.outcome,
            "externalId": str(entry.uuid),
            "cs1Label": "object",
            "cs1": f"{entry.object_type}/{entry.object_id}",
            "cn1Label": "seq",
            "cn1": str(entry.seq),
        }
        extension = " ".join(f"{name}={_cef_value(value)}" for name, value in fields.items())
        yield "CEF:0|" + "|".join(map(_cef_header, head)) + f"|{extension}\n"


def _cef_header(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")


def _cef_value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("=", "\\=")
    return escaped.replace("\r", "\\r").replace("\n", "\\n")


def _ocsf(chain: UUID) -> Iterator[str]:
    for entry in _entries(chain):
        yield orjson.dumps(ocsf_event(entry)).decode() + "\n"


def ocsf_event(entry: AuditEntry) -> dict[str, Any]:
    """Authentication for signing in and out, API Activity for the rest."""
    authentication = entry.action.startswith("user.sign")
    class_uid, category = (3002, 3) if authentication else (6003, 6)
    verb = entry.action.rpartition(".")[2]
    known = {"sign_out": 2} if authentication else {"create": 1, "add": 1, "start": 1, "delete": 4, "change": 3}
    activity = known.get(verb, 1 if authentication else 99)
    event: dict[str, Any] = {
        "metadata": {
            "version": OCSF_VERSION,
            "uid": str(entry.uuid),
            "sequence": entry.seq,
            "product": {"name": "rlmweb", "vendor_name": "rlmweb"},
        },
        "category_uid": category,
        "class_uid": class_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "severity_id": 1,
        "time": _us(entry.recorded_at) // 1000,
        "status_id": 1 if entry.outcome == "success" else 2,
        "unmapped": {"action": entry.action, "outcome": entry.outcome, "document": entry.document},
    }
    if activity == 99:
        event["activity_name"] = entry.action
    user = {"name": entry.actor, "uid": str(entry.subject_uuid)}
    if authentication:
        return {**event, "user": user, "service": {"name": "rlmweb"}}
    address = str(entry.personal.get("ip") or "0.0.0.0")  # noqa: S104  # nosec B104  # the schema wants one; none is known
    resource = {"type": entry.object_type, "uid": entry.object_id}
    api = {"operation": entry.action}
    return {**event, "actor": {"user": user}, "api": api, "src_endpoint": {"ip": address}, "resources": [resource]}


FORMS: dict[str, tuple[Callable[[UUID], Iterator[str]], str]] = {
    "jsonl": (_jsonl, "application/jsonl"),
    "csv": (_csv, "text/csv; charset=utf-8"),
    "cef": (_cef, "text/plain; charset=utf-8"),
    "ocsf": (_ocsf, "application/jsonl"),
}
"""Name -> writer and content type."""
