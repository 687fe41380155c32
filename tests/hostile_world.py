"""An organisation in which every text that a person, a model, a sandbox or a provider can give is hostile.

`PLANTED` says which columns that is, `OURS` which hold only what this program writes, with the reason. A column that is in
neither fails `tests/test_hostile_world.py`: whoever adds one says who can write to it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
from django.apps import apps
from django.db import models
from django.utils import timezone

from rlmweb.audit.models import LegalHold
from rlmweb.audit.record import Particulars, record
from rlmweb.quotas.models import Quota, Waiting
from rlmweb.teams.models import ContentGrant
from runs.access import Actor
from runs.events.types import (
    Compaction,
    ErrorInfo,
    Gap,
    LimitHit,
    LmFailed,
    Log,
    MessageInfo,
    NodeFinished,
    NodeSandbox,
    NodeStarted,
    SessionForked,
    SessionStopRequested,
    SnapshotFailed,
    SnapshotTaken,
    StepFinished,
    StepRetried,
    SubcallClosed,
    SubcallOpened,
    VariableInfo,
)
from runs.models import Job, LmCall, Rollout, RolloutBranch, Session, Share, StoreRun
from runs.replay.reexecution.report import Finding, Report, StepReport
from runs.shares.sharing import Wanted, share_session
from sandboxes.catalogue.models import ProviderMeasurement
from sandboxes.manifest import Dropped, FileState
from tests.factories import make_session
from tests.hostile import FORMULAS, LONG, PAYLOADS, Hostile
from tests.recorded import write_trajectory
from tests.snapshotted import make_node, make_snapshot, variable
from tests.trajectories import Trajectory
from tests.worlds import World, make_world

PLANTED: dict[str, tuple[str, ...]] = {
    "auth.User": ("username", "first_name", "last_name", "email"),
    "teams.Organisation": ("name",),
    "teams.Team": ("name",),
    "teams.ContentGrant": ("reason",),
    "teams.Invitation": ("email",),
    "teams.ApiToken": ("name",),
    "audit.AuditSubject": ("name",),
    "audit.LegalHold": ("reason",),
    "quotas.Quota": ("note", "set_by"),
    "quotas.Waiting": ("sentence",),
    "sandboxes.ProviderAccount": ("hint", "check_text"),
    "sandboxes.ProviderAttestation": ("scope", "reference", "entered_by"),
    "sandboxes.CatalogueRow": ("claim_text", "value", "source", "note", "entered_by"),
    "sandboxes.Snapshot": ("python",),
    "sandboxes.ProviderMeasurement": ("region", "measured_from", "error"),
    "runs.Context": ("name", "note"),
    "runs.LmCredential": ("name", "base_url", "key_hint"),
    "runs.Job": ("error_type", "error_message"),
    "runs.LmCall": ("model", "reply", "error_type", "error_message"),
    "runs.Node": ("error_type", "error_message", "sandbox_ref"),
    "runs.Rollout": ("error_type", "error_message"),
    "runs.RolloutBranch": ("note",),
    "runs.Session": ("title", "question", "answer", "error_type", "error_message"),
    "runs.Step": ("worker", "error_type", "error_message"),
    "runs.StoreRun": ("error_message", "asked_by"),
}
"""Set to hostile text in every row, as far as the column is long."""

BY_HAND: dict[str, tuple[str, ...]] = {
    "audit.AuditEntry": ("body",),
    "runs.Event": ("data",),
    "runs.Job": ("args", "progress", "result"),
    "runs.Rollout": ("scorer", "changes"),
    "runs.Session": ("config", "labels", "origin"),
    "runs.Share": ("words",),
    "sandboxes.Snapshot": ("dropped",),
}
"""Structures, made hostile one by one below."""

_KEYS = "hashes, slugs and names that the database or a validator holds to a pattern"
_WORK = "state of the engine, shown on no page"
_FIXED = "one of a fixed set, checked where it is written"
OURS: dict[str, dict[str, str]] = {
    "auth.Permission": {"name": _FIXED, "codename": _FIXED},
    "auth.Group": {"name": "groups are not used"},
    "auth.User": {"password": _KEYS},
    "teams.Organisation": {"slug": _KEYS},
    "teams.Team": {"slug": _KEYS},
    "teams.Invitation": {"code_sha256": _KEYS},
    "teams.ApiToken": {"scopes": _FIXED, "token_sha256": _KEYS},
    "teams.OrganisationPolicy": {"profile": _FIXED, "document": "validated against its schema"},
    "audit.AuditEntry": dict.fromkeys(("action", "object_type", "object_id", "source"), _FIXED),
    "audit.StagedRead": {"body": "becomes an audit entry before anybody sees it"},
    "quotas.Quota": {"resource": _FIXED},
    "quotas.Balance": dict.fromkeys(("scope_kind", "resource", "period"), _FIXED),
    "quotas.LedgerEntry": {"resource": _FIXED, "price_version": _FIXED},
    "quotas.Reservation": dict.fromkeys(("holder", "scopes", "holds", "price_version"), _WORK),
    "quotas.Payer": {"scopes": _WORK},
    "quotas.Waiting": dict.fromkeys(("scope_kind", "resource", "period"), _FIXED),
    "sandboxes.ProviderAccount": {"provider": _FIXED, "options": "validated by the provider's form"},
    "sandboxes.ProviderOrder": {"names": _FIXED},
    "sandboxes.ProviderAttestation": {"provider": _FIXED, "kind": _FIXED},
    "sandboxes.SandboxRecord": dict.fromkeys(("provider", "ref", "gpu", "tier", "isolation"), _WORK),
    "sandboxes.Snapshot": {"provider": _FIXED, "ref": _WORK, "manifest_sha256": _KEYS, "holds": _FIXED},
    "sandboxes.CatalogueRow": dict.fromkeys(("provider", "capability_key", "support", "status"), _FIXED),
    "sandboxes.ProviderMeasurement": {"provider": _FIXED},
    "runs.Blob": {"sha256": _KEYS},
    "runs.BlobUse": {"sha256": _KEYS},
    "runs.Context": {"sha256": _KEYS, "source": _FIXED},
    "runs.LmCredential": {"api": _FIXED},
    "runs.Event": {"type": _FIXED},
    "runs.Job": {"kind": _FIXED},
    "runs.LmCall": {"kind": _FIXED, "subcall": _WORK, "request_sha256": _KEYS},
    "runs.Node": dict.fromkeys(("subcall", "prompt_sha256", "answer_sha256", "state", "base_code"), _WORK),
    "runs.NodeMessage": {"role": _FIXED, "content": "goes to models; pages read the events"},
    "runs.OutboxMessage": {"task": _FIXED, "args": _WORK},
    "runs.Rollout": {"steps": "whole numbers"},
    "runs.Session": {"policy": _FIXED},
    "runs.Share": {"public_id": _KEYS, "token_hmac": _KEYS, "password": _KEYS},
    "runs.Step": {"state": _WORK, "node_state": _WORK},
    "runs.StoreRun": {"policy": "numbers", "report": "numbers and hashes", "source": _FIXED},
}
APPS = ("auth", "teams", "audit", "quotas", "sandboxes", "runs")


def text_columns() -> dict[str, set[str]]:
    """Every column of ours that can hold any text: without choices, of whatever length."""
    kinds = (models.CharField, models.TextField, models.JSONField)
    found: dict[str, set[str]] = {}
    for label in APPS:
        for model in apps.get_app_config(label).get_models():
            names = {field.name for field in model._meta.fields if isinstance(field, kinds) and not field.choices}
            if names:
                found[model._meta.label] = names
    return found


def make_hostile_world() -> tuple[World, Hostile]:
    """As `make_world`, and every route can be opened; `Hostile` knows which payloads were used."""
    world, hostile = make_world("zqx"), Hostile()
    _more_rows(world)
    plant(hostile)
    _structures(world, hostile)
    world.session = Session.objects.get(pk=world.session.pk)
    _audit(world, hostile)
    whole = Wanted("organisation", redaction=Share.Redaction.EVERYTHING, words=[hostile.text(60)])
    world.share, world.share_token = share_session(Actor(world.people["lead"], "test"), world.session, whole)
    world.named["*"] |= {"public_id": world.share.public_id, "share": world.share.uuid}
    return world, hostile


def plant(hostile: Hostile) -> None:
    """Hostile text into every row of every column of `PLANTED`. Rows are unique by what they hold, so a key comes first."""
    for label, names in PLANTED.items():
        model = apps.get_model(label)
        for row in model._default_manager.all():
            for name in names:
                most = model._meta.get_field(name).max_length or 3000
                text = hostile.text(most - 8)
                if name in ("note", "username", "email", "name") and row.pk % 2:
                    text = hostile.formula()[: most - 8]
                setattr(row, name, f"{text}{row.pk}"[:most])
            model._default_manager.filter(pk=row.pk).update(**{name: getattr(row, name) for name in names})


def hostile_log(hostile: Hostile) -> Trajectory:
    """Every kind of event, with hostile text wherever one has text that is not of a fixed set."""
    say, log = hostile.text, Trajectory()
    error = ErrorInfo(type=say(80), message=say(), detail=say())
    root = log.begin(say(600), labels=[say(80), *FORMULAS[:3]])
    log.add(
        SessionForked(
            from_session=str(uuid4()),
            from_title=say(200),
            snapshot=str(uuid4()),
            differences=[{"what": say(90), "before": say(200), "after": say(200)}],
        )
    )
    log.add(NodeSandbox(node=root, state="lost", provider=say(90), tier=say(90), sandbox=say(120), reason=say(300)))
    log.step(
        root,
        1,
        say() + "\n```repl\n" + say() + "\n```\n" + LONG[2],
        MessageInfo("system", say()),
        MessageInfo("user", say()),
    )
    names = [VariableInfo(say(190), say(190), say(90), say(390)) for _ in range(6)]
    for number, payload in enumerate(PAYLOADS, start=1):
        log.cell(root, 1, number, payload, payload + "\n" + say(), variables=names if number == 1 else [])
    log.cell(root, 1, len(PAYLOADS) + 1, say(), say() + LONG[0] + say())  # so long that it becomes a blob
    log.add(SubcallOpened(node=root, step=1, cell=1, subcall="c1", kind="rlm", count=1))
    child = log.nodes
    log.nodes += 1
    log.add(NodeStarted(node=child, parent=root, depth=1, prompt=say(), model=say(190), step=1, cell=1, subcall="c1"))
    log.step(child, 1, say())
    failed = log.call(child, 1, kind="leaf", cell=1)
    log.add(LmFailed(node=child, call=failed, error=error))
    log.add(StepFinished(node=child, step=1, status="failed", error=error))
    log.add(NodeFinished(node=child, status="failed", answer=say(), error=error))
    log.add(SubcallClosed(node=root, step=1, cell=1, subcall="c1", failed=1))
    log.add(SnapshotTaken(node=root, step=1, snapshot=str(uuid4()), dropped=[say(190)], changed=[say(190), say(190)]))
    log.add(SnapshotFailed(node=root, step=1, reason=say(300)))
    log.add(StepRetried(node=root, step=1, attempt=2, reason=say(300)))
    log.add(LimitHit(limit="max_steps_per_node", used=1, allowed=1, node=root, step=1, partial=say()))
    log.add(Compaction(node=root, step=1, summary=say()))
    for level in ("info", "warning", "error"):
        log.add(Log(level=level, message=say(), node=root, step=1))
    log.add(Gap(reason=say(300), node=root))
    log.add(StepFinished(node=root, step=1, status="failed", error=error))
    log.add(SessionStopRequested(by=say(120)))
    log.finish(answer=say() + "\n".join(FORMULAS))
    return log


def _more_rows(world: World) -> None:
    """What `make_world` has none of."""
    session = world.session
    node = make_node(session, number=0, steps=2)
    LmCall.objects.create(
        session=session,
        step=node.steps.get(number=1),
        number=1,
        kind="turn",
        model="m",
        request_sha256="a" * 64,
        started_at=timezone.now(),
    )
    rollout = Rollout.objects.get(session=session)
    RolloutBranch.objects.create(rollout=rollout, step_number=1, index=0, score=0.5, session=make_session(world.team))
    StoreRun.objects.create(dry_run=True, policy={}, asked_by="x", source="web", error_message="x", status="failed")
    LegalHold.objects.create(chain=world.team.organisation.uuid, reason="x")
    ContentGrant.objects.create(
        team=world.team,
        user=world.people["auditor"],
        granted_by=world.people["owner"],
        reason="x",
        expires_at=timezone.now() + timedelta(days=1),
    )
    quota = Quota.objects.get()
    Waiting.objects.create(
        step_uuid=uuid4(),
        session_uuid=session.uuid,
        scope_kind=quota.scope_kind,
        scope_uuid=quota.scope_uuid,
        resource=quota.resource,
        period=quota.period,
        requested=1,
        sentence="x",
    )
    for operation in ProviderMeasurement.Operation.values:
        for source in ProviderMeasurement.Source.values:
            ProviderMeasurement.objects.create(provider="modal", operation=operation, source=source, ms=5, error="x")


def _structures(world: World, hostile: Hostile) -> None:
    say, session = hostile.text, world.session
    model: dict[str, Any] = {"api": "scripted", "model": say(190), "base_url": say(190)}
    config: dict[str, Any] = {"root": {**model, "extra": {}}, "sub": model, "provider": "local", "profile": "standard"}
    origin: dict[str, Any] = {
        "kind": "import",
        "title": say(190),
        "installation": say(190),
        "archive": say(190),
        "session": say(100),
    }
    origin["differences"] = [{"what": say(90), "before": say(300), "after": say(300)}]
    Session.objects.filter(pk=session.pk).update(
        config=config, labels=[say(80), *FORMULAS], origin=origin, status=Session.Status.FAILED
    )
    world.session.refresh_from_db()
    write_trajectory(world.session, hostile_log(hostile))
    session.jobs.filter(kind="import").update(args={"name": say(200)}, status=Job.Status.FAILED)
    finding = Finding(what="variable", cell=1, name=say(190), recorded=say(), now=say(), changes=[say(200)])
    steps = [StepReport(node=0, step=1, findings=[finding], cause=say(300), notes=[say(200)])]
    report = msgspec.to_builtins(Report(steps=steps, problems=[say(400)], diverged=1))
    session.jobs.filter(kind="reexecute").update(progress={"text": say(90)}, result=report, status=Job.Status.FINISHED)
    Rollout.objects.filter(session=session).update(scorer={"kind": "exact", "expected": say()})
    node = make_node(session, steps=2)
    held = [variable(say(190), say(300), type=say(190)) for _ in range(12)]
    dropped = [Dropped(name=say(500), type=say(190), reason=say(900)) for _ in range(4)]
    files = [FileState(path=f"{say(300)}{n}", kind="file") for n in range(4)]
    make_snapshot(node, 2, held, python="3.11.7", manifest={"dropped": dropped, "files": files})


def _audit(world: World, hostile: Hostile) -> None:
    say, team = hostile.text, world.team.uuid
    for outcome in ("success", "denied"):
        more = Particulars(
            role=say(60), reason=say(), object_label=say(200), changes={say(90): [say(200), say(200)]}, policy=say(90)
        )
        record(
            "session.stop",
            actor=say(190),
            object_type="session",
            object_id=world.session.uuid,
            team_uuid=team,
            outcome=outcome,
            details={"name": say(), say(90): [say(), {"x": say()}]},
            particulars=more,
        )
