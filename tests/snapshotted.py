"""Steps whose snapshots are made up: a manifest of given variables, without any contents behind it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from runs.blobs import blob_store
from runs.models import Node, Session, Step
from sandboxes.manifest import Manifest, VariableState
from sandboxes.models import Snapshot


def variable(name: str, value: object, **fields: Any) -> VariableState:
    """As the runner would say it of a plain value."""
    text = repr(value)
    given = {"type": type(value).__name__, "preview": text[:400], "digest": hashlib.sha256(text.encode()).hexdigest()}
    if hasattr(value, "__len__"):
        given["size"] = str(len(value))
    return VariableState(**{"name": name, **given, **fields})


def make_node(session: Session, number: int = 0, steps: int = 1, **fields: Any) -> Node:
    node, _ = Node.objects.get_or_create(session=session, number=number, defaults={"depth": 0, **fields})
    for step in range(1, steps + 1):
        Step.objects.get_or_create(
            session=session, node=node, number=step, defaults={"status": Step.Status.FINISHED, "attempt": 1}
        )
    return node


def make_snapshot(node: Node, step: int, variables: list[VariableState], **fields: Any) -> Snapshot:
    """`manifest`: more fields of the manifest. Other fields are the row's."""
    manifest = Manifest(**{"python": "3.11.7", "variables": variables, **fields.pop("manifest", {})})
    stored = blob_store().put(msgspec.json.encode(manifest))
    return Snapshot.objects.create(
        **{
            "session_uuid": node.session.uuid,
            "node_uuid": node.uuid,
            "step_number": step,
            "provider": "local",
            "manifest_sha256": stored.sha256,
            "python": "3.11.7",
            "holds": ["variables", "files"],
            "dropped": msgspec.to_builtins(manifest.dropped),
            "size_bytes": 12_345,
            "stored_bytes": 678,
            **fields,
        }
    )
