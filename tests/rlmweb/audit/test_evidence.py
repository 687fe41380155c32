"""Checkpoints, sealed reads, exports, retention, holds and erasure: what an auditor relies on."""

from __future__ import annotations

import base64
import csv
import io
import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from rlmweb.audit import standalone
from rlmweb.audit.checkpoints import anchors_of, make_due_checkpoints, newest, public_key, sink
from rlmweb.audit.export import exported
from rlmweb.audit.models import INSTANCE_CHAIN, AuditEntry, AuditSegment, AuditSubject, ChainHead, StagedRead
from rlmweb.audit.reads import proof_of, seal_reads, sealer_lag_s, stage_read
from rlmweb.audit.record import record
from rlmweb.audit.retention import Held, erase, place_hold, purge, purge_due, release_hold
from rlmweb.audit.verify import State, verify
from rlmweb.teams.models import OrganisationPolicy
from rlmweb.teams.policies.enforcing import PolicyRefused
from tests.factories import make_organisation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> Path:
    settings.AUDIT_KEY_FILE = tmp_path / "key" / "checkpoint.key"
    settings.AUDIT_CHECKPOINT_DIR = tmp_path / "sink"
    return tmp_path


def fill(chain: uuid.UUID, count: int = 5, actor: str = "ada") -> None:
    for number in range(count):
        record(
            "session.stop",
            actor=actor,
            object_type="session",
            object_id=f"{number}",
            team_uuid=None if chain == INSTANCE_CHAIN else chain,
            details={"formula": "=HYPERLINK(1)|x", "n": number},
        )


def as_administrator(sql: str, *values: Any) -> None:
    """Somebody who may switch the triggers off."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(sql, values)
        cursor.execute("SET session_replication_role = DEFAULT")


def test_a_checkpoint_is_signed_kept_outside_and_named_by_the_instance_chain() -> None:
    team = uuid.uuid4()
    fill(team)
    assert make_due_checkpoints() == 1
    note = newest(team)
    chain, size, root = standalone.read_checkpoint(note, public_key())
    assert (chain, size) == (team, 5)
    assert root == bytes(ChainHead.objects.get(chain=team).hash)
    assert AuditEntry.objects.get(action="audit.checkpoint").details["size"] == 5
    assert make_due_checkpoints() == 0
    assert verify(team, anchors_of(team)).anchors == 1


def test_the_key_is_for_its_owner_alone(settings: Any) -> None:
    public_key()
    assert settings.AUDIT_KEY_FILE.stat().st_mode & 0o777 == 0o600


def test_a_cut_tail_is_found_by_the_sink_alone() -> None:
    """The head is cut as well, so that the database agrees with itself."""
    team = uuid.uuid4()
    fill(team)
    make_due_checkpoints()
    as_administrator("DELETE FROM audit_auditentry WHERE chain = %s AND seq > 3", team)
    last = AuditEntry.objects.get(chain=team, seq=3)
    as_administrator("UPDATE audit_chainhead SET size = 3, hash = %s WHERE chain = %s", last.hash, team)
    assert verify(team).intact
    verdict = verify(team, anchors_of(team))
    assert (verdict.state, verdict.first_bad_seq) == (State.TAMPERED, 4)
    with pytest.raises(SystemExit) as stopped:
        call_command("audit_verify", "--chain", str(team))
    assert stopped.value.code == 1


def test_a_checkpoint_of_another_key_is_refused() -> None:
    team = uuid.uuid4()
    fill(team)
    make_due_checkpoints()
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(standalone.Unreadable):
        standalone.read_checkpoint(newest(team), stranger)


def test_the_command_says_intact_and_incomplete() -> None:
    with pytest.raises(SystemExit) as stopped:
        call_command("audit_verify")
    assert stopped.value.code == 2
    fill(INSTANCE_CHAIN)
    call_command("audit_verify")


def test_reads_are_sealed_and_each_can_be_proved() -> None:
    team = uuid.uuid4()
    for number in range(7):
        stage_read("session.read", actor="ada", object_type="session", object_id=f"{number}", team_uuid=team)
    assert sealer_lag_s() > 0
    assert seal_reads() == 7
    assert (seal_reads(), sealer_lag_s()) == (0, 0)
    seal = AuditEntry.objects.get(action="reads.seal")
    root = bytes.fromhex(seal.details["root"])
    for read in StagedRead.objects.all():
        proof, size = proof_of(read)
        assert read.leaf is not None
        leaf = standalone.leaf_hash(read.body.encode())
        assert standalone.is_included(leaf, read.leaf, size, proof, root)
        assert not standalone.is_included(standalone.leaf_hash(b"other"), read.leaf, size, proof, root)
    assert verify(team).intact


@pytest.mark.parametrize("alter", ["UPDATE audit_stagedread SET body = body || ' '", "DELETE FROM audit_stagedread"])
def test_sealed_reads_that_are_altered_are_found(alter: str) -> None:
    team = uuid.uuid4()
    fill(team, 2)
    for number in range(3):
        stage_read("session.read", actor="ada", object_type="session", object_id=f"{number}", team_uuid=team)
    seal_reads()
    assert verify(team).intact
    as_administrator(f"{alter} WHERE leaf = %s", 1)
    verdict = verify(team)
    assert (verdict.state, verdict.first_bad_seq) == (State.TAMPERED, 3)


def exported_file(chain: uuid.UUID, folder: Path) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(exported(chain, "jsonl")))
    return path


def test_an_export_is_judged_without_the_application(own_folder: Path) -> None:
    team = uuid.uuid4()
    fill(team)
    make_due_checkpoints()
    path = exported_file(team, own_folder)
    mine = own_folder / "mine.jsonl"
    mine.write_text("".join(line for line in sink().read_text().splitlines(keepends=True) if str(team) in line))
    key = base64.b64encode(public_key()).decode()
    whole = [str(path), "--checkpoints", str(mine), "--key", key]
    assert standalone.main(whole) == 0
    lines = path.read_text().splitlines(keepends=True)
    for altered, code in (
        ([line.replace("session", "sessiom") for line in lines], 1),
        (lines[:2] + lines[3:], 1),
        (lines[:3], 2),
        ([*lines[:3], '{"end":3}\n'], 1),
        ([lines[1], lines[0], *lines[2:]], 1),
    ):
        path.write_text("".join(altered))
        assert standalone.main(whole) == code


def test_four_forms_hold_the_same_number_and_no_formula() -> None:
    team = uuid.uuid4()
    fill(team, actor="=cmd()")
    read = {form: list(exported(team, form)) for form in ("jsonl", "csv", "cef", "ocsf")}
    rows = list(csv.DictReader(io.StringIO("".join(read["csv"]))))
    events = [json.loads(line) for line in read["ocsf"]]
    assert {len(rows), len(events), len(read["cef"]), len(read["jsonl"]) - 1} == {5}
    assert {row["actor"] for row in rows} == {"'=cmd()"}
    assert all(line.startswith("CEF:0|") and "suser=\\=cmd()" in line for line in read["cef"])
    assert all(event["type_uid"] == event["class_uid"] * 100 + event["activity_id"] for event in events)


def test_a_purge_leaves_a_header_and_a_chain_that_verifies() -> None:
    team = uuid.uuid4()
    fill(team)
    make_due_checkpoints()
    fill(team, 2)
    segment = purge(team, actor="root", before=timezone.now() + timedelta(seconds=1))
    assert segment is not None
    assert (segment.first_seq, segment.last_seq) == (1, 5)
    verdict = verify(team, anchors_of(team))
    assert (verdict.state, verdict.entries) == (State.INTACT, 3)


def test_a_header_cannot_hide_what_nobody_purged() -> None:
    team = uuid.uuid4()
    fill(team)
    second, third = AuditEntry.objects.get(chain=team, seq=2), AuditEntry.objects.get(chain=team, seq=3)
    AuditSegment.objects.create(
        chain=team,
        first_seq=2,
        last_seq=3,
        prev_hash=second.prev_hash,
        last_hash=third.hash,
        first_at=second.at,
        last_at=third.at,
    )
    AuditEntry.objects.filter(chain=team, seq__in=(2, 3))._raw_delete("default")
    verdict = verify(team)
    assert (verdict.state, verdict.first_bad_seq) == (State.TAMPERED, 2)


def test_nothing_recent_is_purged() -> None:
    fill(INSTANCE_CHAIN)
    make_due_checkpoints()
    assert purge(INSTANCE_CHAIN, actor="root") is None


def test_a_hold_beats_purge_and_erasure() -> None:
    team = uuid.uuid4()
    fill(team)
    make_due_checkpoints()
    soon = timezone.now() + timedelta(seconds=1)
    ada = AuditSubject.objects.get(name="ada")
    for about in ({"chain": team}, {"subject_uuid": ada.uuid}):
        hold = place_hold(actor="counsel", reason="lawsuit", **about)
        with pytest.raises(Held):
            purge(team, actor="root", before=soon)
        release_hold(hold, actor="counsel", reason="settled")
    hold = place_hold(actor="counsel", reason="lawsuit", subject_uuid=ada.uuid)
    with pytest.raises(Held):
        erase(ada, actor="root", reason="asked for")


def test_a_forgotten_person_cannot_be_read_and_the_chain_stays_whole() -> None:
    team = uuid.uuid4()
    fill(team)
    erase(AuditSubject.objects.get(name="ada"), actor="root", reason="asked for")
    assert AuditEntry.objects.filter(chain=team)[0].actor.startswith("erased ")
    assert verify(team).intact
    fill(team, 1)
    assert AuditEntry.objects.filter(chain=team)[0].actor == "ada"


def kept(*words: str) -> str:
    out = io.StringIO()
    call_command("audit_keep", *words, stdout=out)
    return out.getvalue()


def age(chain: uuid.UUID, days: int) -> None:
    """As if all of it had been written so long ago; its hashes say otherwise, and a purge does not look at them."""
    as_administrator(
        "UPDATE audit_auditentry SET recorded_at = recorded_at - make_interval(days => %s) WHERE chain = %s",
        days,
        chain,
    )


def test_old_entries_go_by_command_and_by_the_clock_and_a_dry_run_takes_nothing() -> None:
    team, other = uuid.uuid4(), uuid.uuid4()
    for chain in (team, other):
        fill(chain)
    make_due_checkpoints()
    age(team, 500)
    assert f"{team}: 1 to 5 would go" in kept("purge", "--dry-run", "--actor", "root")
    assert AuditEntry.objects.filter(chain=team).count() == 5
    hold = kept("hold", "--chain", str(team), "--reason", "case 12", "--actor", "counsel").strip()
    assert "case 12" in kept("holds")
    with pytest.raises(CommandError, match="legal hold"):
        kept("purge", "--chain", str(team), "--actor", "root")
    assert purge_due() == 0
    kept("release", hold, "--reason", "settled", "--actor", "counsel")
    assert purge_due() == 1
    assert not AuditEntry.objects.filter(chain=team, seq__lte=5).exists()
    assert AuditEntry.objects.filter(chain=other).count() == 5
    assert AuditEntry.objects.filter(chain=team, action="audit.purge").count() == 1


def test_who_is_erased_or_released_must_be_there() -> None:
    fill(uuid.uuid4())
    assert "erased" in kept("erase", "ada", "--reason", "asked for", "--actor", "privacy")
    for words in (("erase", "ada", "--reason", "x"), ("release", str(uuid.uuid4()), "--reason", "x")):
        with pytest.raises(CommandError, match=r"knows nobody|no hold"):
            kept(*words, "--actor", "root")
    with pytest.raises(CommandError, match="at least 1"):
        kept("purge", "--days", "0", "--actor", "root")


def test_the_policy_of_an_organisation_keeps_entries_for_longer_than_the_setting(settings: Any) -> None:
    settings.AUDIT_DAYS = 0
    organisation = make_organisation()
    fill(organisation.uuid)
    make_due_checkpoints()
    policy = OrganisationPolicy.objects.create(organisation=organisation, version=1, profile="hipaa")
    assert purge(organisation.uuid, actor="root") is None
    with pytest.raises(PolicyRefused, match="2192 days"):
        purge(organisation.uuid, actor="root", before=timezone.now())
    policy.delete()
    assert purge(organisation.uuid, actor="root", before=timezone.now() + timedelta(seconds=1)) is not None
