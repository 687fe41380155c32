"""Archives that were damaged, or written to do harm: refused in full, with a reason."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import zstandard
from django.core.management import call_command

from runs.replay.archive import format as form
from runs.replay.archive.checking import check_archive
from runs.replay.archive.errors import (
    ArchiveDamaged,
    ArchiveError,
    ArchiveInvalid,
    ArchiveTooLarge,
    ArchiveVersionError,
    ContentMissing,
)
from runs.replay.archive.reading import open_archive
from tests.runs.replay.archive.archives import export_to, make_rich
from tests.runs.replay.archive.edited import Edited, member

pytestmark = pytest.mark.django_db
OTHERS = "0" * 64
"""The hash of a content that somebody else has."""


@pytest.fixture(scope="module")
def whole(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Made once: what is refused here is refused without a database."""
    with django_db_blocker.unblock():
        path = export_to(tmp_path_factory.mktemp("archive") / "a.tar", make_rich())
        call_command("flush", verbosity=0, interactive=False)
    return path.read_bytes()


@pytest.fixture
def edited(whole: bytes) -> Edited:
    return Edited(whole)


def check(data: bytes, tmp_path: Path, **limits: int) -> None:
    path = tmp_path / "archive"
    path.write_bytes(data)
    with open_archive(path, form.Limits(**limits)) as archive:
        check_archive(archive)


def refused(data: bytes, tmp_path: Path, kind: type[ArchiveError], word: str, **limits: int) -> None:
    with pytest.raises(kind, match=word) as caught:
        check(data, tmp_path, **limits)
    assert caught.value.way_out in str(caught.value) != ""


def test_what_was_written_is_taken_and_written_again_in_the_same_way(whole: bytes, tmp_path: Path) -> None:
    check(whole, tmp_path)
    assert Edited(whole).written() == whole


def test_one_bit_anywhere_is_found(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    chance = random.Random(7)
    places = [chance.randrange(len(whole)) for _ in range(1500)]
    ends = range(len(whole) - 1500, len(whole), 11)
    for place in [*range(form.BLOCK_BYTES), *places, *ends]:
        data = bytearray(whole)
        data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with pytest.raises(ArchiveError):
            open_archive(path)


def test_an_archive_that_ends_early_is_found(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    for length in [0, 1, 511, *range(512, len(whole), 3 * 512 + 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ArchiveDamaged):
            open_archive(path)


def test_nothing_goes_on_behind_the_end(whole: bytes, tmp_path: Path) -> None:
    refused(whole + b"\0", tmp_path, ArchiveDamaged, "behind its end")
    refused(whole + whole, tmp_path, ArchiveDamaged, "behind its end")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "blobs/../x", "blobs/" + "A" * 64 + ".zst", "extra.txt", "events.jsonl"]
)
def test_a_member_that_has_no_meaning_is_refused(edited: Edited, tmp_path: Path, name: str) -> None:
    data = b"x"
    if name != form.EVENTS:
        edited.members[name] = data
    refused(edited.written([*form.HEAD, name]), tmp_path, ArchiveDamaged, "has no meaning")


def test_a_member_that_is_there_twice_or_in_another_place_is_refused(edited: Edited, tmp_path: Path) -> None:
    contents = sorted(name for name in edited.members if name.startswith("blobs/"))
    twice = [*form.HEAD, contents[0], contents[0]]
    refused(edited.written(twice), tmp_path, ArchiveDamaged, "there twice")
    refused(edited.written([*form.HEAD, *reversed(contents)]), tmp_path, ArchiveDamaged, "wrong place")
    refused(edited.written([*form.HEAD[1:], form.README]), tmp_path, ArchiveDamaged, "README.txt should come here")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_links_folders_and_devices_are_refused(whole: bytes, tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo(form.README)
    info.type, info.linkname = kind, "/etc/passwd"
    refused(info.tobuf(tarfile.USTAR_FORMAT) + whole, tmp_path, ArchiveDamaged, "not as it is written")


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    refused(b"PK\x03\x04" + bytes(2000), tmp_path, ArchiveDamaged, "no archive of a session")
    refused(b"", tmp_path, ArchiveDamaged, "ends at byte 0")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("holiday.jpg"))
    refused(file.getvalue(), tmp_path, ArchiveDamaged, "README.txt should come here, not 'holiday.jpg'")


@pytest.mark.parametrize(("field", "value"), [("version", 2), ("format", "tarball")])
def test_another_version_is_named(edited: Edited, tmp_path: Path, field: str, value: object) -> None:
    data = edited.document(form.ABOUT, lambda about: about.update({field: value, "new": 1})).written()
    refused(data, tmp_path, ArchiveVersionError, f"{value}.*this release reads 'rlmweb-session', version 1")


# What it says does not fit together ------------------------------------------------------------------------------------

DOCUMENTS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    (form.SESSION, lambda it: it.update(status="asleep"), "status"),
    (form.SESSION, lambda it: it.update(surprise=1), "surprise"),
    (form.SESSION, lambda it: it.update(title="a\0b"), "NUL"),
    (form.SESSION, lambda it: it.update(title="x" * 201), "title"),
    (form.SESSION, lambda it: it["meter"].update(nodes=7), "7 nodes"),
    (form.SESSION, lambda it: it["meter"].update(last_seq=7), "7 events"),
    (form.SESSION, lambda it: it["meter"].update(last_call=1), "comes after the last"),
    (form.SESSION, lambda it: it["meter"].update(cost_micro_usd=-1), "cost_micro_usd"),
    (form.SESSION, lambda it: it["meter"].update(cost_micro_usd=10**30), "cost_micro_usd"),
    (form.SESSION, lambda it: it["config"].update(root={}), "configuration is not valid"),
    (form.SESSION, lambda it: it["config"].update(limits={"memory_mb": 10**9}), "limits.memory_mb"),
    (form.SESSION, lambda it: it["config"]["root"]["extra"].update(huge=10**30), "out of range"),
    (form.SESSION, lambda it: it.update(status="running", finished_at=None), "its root finished"),
    (form.ABOUT, lambda it: it["counts"].update(blobs=1), "counts"),
    (form.ABOUT, lambda it: it.update(with_context=False), "do not agree whether the context"),
    (form.ABOUT, lambda it: it.update(with_snapshots=False), "no snapshots; there are"),
]
TABLES: list[tuple[str, Callable[[list[dict[str, Any]]], object], str]] = [
    (form.CONTEXTS, lambda rows: rows.append(rows[0]), "2 rows"),
    (form.CONTEXTS, lambda rows: rows[0].update(size_bytes=1), "8500 bytes, not 1"),
    (form.NODES, lambda rows: rows.reverse(), "comes before its parent"),
    (form.NODES, lambda rows: rows.clear(), "no root"),
    (form.NODES, lambda rows: rows[1].update(parent=1), "comes before its parent|comes after"),
    (form.NODES, lambda rows: rows[1].update(parent=None), "has no parent and step"),
    (form.NODES, lambda rows: rows[1].update(depth=3), "said to be at depth 3"),
    (form.NODES, lambda rows: rows[1].update(parent_step=9), "step 9 of node 0"),
    (form.NODES, lambda rows: rows[1].update(prompt_sha256=""), "no prompt"),
    (form.NODES, lambda rows: rows[1].update(prompt_sha256="../../x"), "prompt_sha256"),
    (form.NODES, lambda rows: rows.append({**rows[1], "number": 2}), "opened where another"),
    (form.NODES, lambda rows: rows[0].update(state={"turns": "many"}), "state of node 0"),
    (form.STEPS, lambda rows: rows.append(rows[-1]), "comes after"),
    (form.STEPS, lambda rows: rows[-1].update(node=5), "node 5, and there is none"),
    (form.STEPS, lambda rows: rows[0].update(number=-1), "number"),
    (form.STEPS, lambda rows: rows[0].update(state={"cells": 1}), "state of step 1"),
    (form.MESSAGES, lambda rows: rows[-1].update(node=5), "node 5, and there is none"),
    (form.MESSAGES, lambda rows: rows[0].update(content="\0"), "NUL"),
    (form.CALLS, lambda rows: rows[0].update(step=40), "step 40 of node 0"),
    (form.CALLS, lambda rows: rows[0].update(started_at="yesterday"), "started_at"),
    (form.SNAPSHOTS, lambda rows: rows[-1].update(step_number=40), "step 40"),
    (form.SNAPSHOTS, lambda rows: rows[1].update(uuid=rows[0]["uuid"]), "there twice"),
    (form.SNAPSHOTS, lambda rows: rows[0].update(parent=str(uuid4())), "before its parent"),
    (form.EVENTS, lambda rows: rows.pop(3), "has a gap"),
    (form.EVENTS, lambda rows: rows[3].update(seq=3), "has a gap"),
    (form.EVENTS, lambda rows: rows.append({**rows[-1], "seq": len(rows) + 1}), "counts"),
    (form.EVENTS, lambda rows: rows[4].update(type="session.started"), "line 5|begins with"),
    (form.EVENTS, lambda rows: rows[0].update(type="log", level="info", message="x"), "begins with"),
    (form.EVENTS, lambda rows: rows[4].update(type="surprise"), "surprise"),
    (form.EVENTS, lambda rows: rows[4].update(node=77), "node 77|node"),
    (form.EVENTS, lambda rows: rows[4].update(at=-1), "at"),
    (form.EVENTS, lambda rows: rows[-1].update(status=1), "status"),
]


@pytest.mark.parametrize(("name", "change", "word"), DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_document_that_is_not_sound_is_refused(
    edited: Edited, tmp_path: Path, name: str, change: Callable[[Any], object], word: str
) -> None:
    refused(edited.document(name, change).written(), tmp_path, ArchiveInvalid, word)


@pytest.mark.parametrize(("name", "change", "word"), TABLES, ids=range(len(TABLES)))
def test_a_table_that_is_not_sound_is_refused(
    edited: Edited, tmp_path: Path, name: str, change: Callable[[Any], object], word: str
) -> None:
    refused(edited.table(name, change).written(), tmp_path, ArchiveInvalid, word)


@pytest.mark.parametrize("text", [b"{", b"[]", b"null", b"", b'{"a": "\xff"}', b'"\\ud800x"'])
def test_what_is_no_json_is_refused(edited: Edited, tmp_path: Path, text: bytes) -> None:
    edited.members[form.NODES] = text + b"\n"
    refused(edited.written(), tmp_path, ArchiveInvalid, "nodes.jsonl, line 1")


def test_a_table_without_an_end_is_refused(edited: Edited, tmp_path: Path) -> None:
    edited.members[form.NODES] = edited.members[form.NODES][:-1]
    refused(edited.written(), tmp_path, ArchiveDamaged, "last line has no end")


# Contents ---------------------------------------------------------------------------------------------------------------


def test_a_content_of_somebody_else_is_never_named_successfully(edited: Edited, tmp_path: Path) -> None:
    """The most valuable lie: an archive that names what another team has stored here, by its hash."""
    lies: list[tuple[str, Callable[[list[dict[str, Any]]], object]]] = [
        (form.CONTEXTS, lambda rows: rows[0].update(sha256=OTHERS)),
        (form.NODES, lambda rows: rows[1].update(prompt_sha256=OTHERS)),
        (form.NODES, lambda rows: rows[0].update(answer_sha256=OTHERS)),
        (form.SNAPSHOTS, lambda rows: rows[0].update(manifest_sha256=OTHERS)),
        (form.EVENTS, _name_in_an_event),
    ]
    whole = edited.written()
    for name, change in lies:
        refused(Edited(whole).table(name, change).written(), tmp_path, ContentMissing, "does not hold")


def _name_in_an_event(rows: list[dict[str, Any]]) -> None:
    row = next(row for row in rows if row["type"] == "cell.output")
    row["text"] = {"sha256": OTHERS, "size": 5, "head": "hello", "tail": ""}


@pytest.mark.parametrize("field", ["pieces", "files", "state", "inner"])
def test_a_manifest_that_names_a_content_of_somebody_else_is_refused(
    edited: Edited, tmp_path: Path, field: str
) -> None:
    inner = edited.content(json.dumps({"blocks": [OTHERS]}).encode())
    manifests: dict[str, dict[str, Any]] = {
        "pieces": {"pieces": [{"names": ["x"], "blob": OTHERS}]},
        "files": {"files": [{"path": "x", "blobs": [OTHERS]}]},
        "state": {"state": OTHERS},
        "inner": {"pieces": [{"names": ["x"], "blob": inner}]},
    }
    manifest = {"version": 1, "python": "3.11.7", **manifests[field]}
    sha256 = edited.content(json.dumps(manifest).encode())
    data = edited.table(form.SNAPSHOTS, lambda rows: rows[0].update(manifest_sha256=sha256)).written()
    refused(data, tmp_path, ContentMissing, OTHERS)


@pytest.mark.parametrize("text", [b"", b"{}", b"not json", b'{"version":9,"python":"3"}'])
def test_what_is_no_manifest_is_refused(edited: Edited, tmp_path: Path, text: bytes) -> None:
    sha256 = edited.content(text)
    data = edited.table(form.SNAPSHOTS, lambda rows: rows[0].update(manifest_sha256=sha256)).written()
    refused(data, tmp_path, ArchiveInvalid, "A snapshot is not valid")


def test_a_content_that_nothing_names_is_refused(edited: Edited, tmp_path: Path) -> None:
    edited.content(b"smuggled")
    refused(edited.written(), tmp_path, ArchiveInvalid, "nothing in it names")


def test_a_content_that_is_missing_is_named(edited: Edited, tmp_path: Path) -> None:
    context = json.loads(edited.members[form.CONTEXTS])["sha256"]
    refused(edited.without(context).written(), tmp_path, ContentMissing, context)


def test_a_content_under_another_name_is_refused(edited: Edited, tmp_path: Path) -> None:
    context = json.loads(edited.members[form.CONTEXTS])["sha256"]
    edited.content(b"y" * 8500, name=context)
    refused(edited.written(), tmp_path, ArchiveDamaged, "has the hash")


@pytest.mark.parametrize("packed", [b"", b"not zstd", b"\x28\xb5\x2f\xfd"])
def test_a_content_that_cannot_be_unpacked_is_refused(edited: Edited, tmp_path: Path, packed: bytes) -> None:
    context = json.loads(edited.members[form.CONTEXTS])["sha256"]
    edited.members[form.content_name(context)] = packed
    refused(edited.written(), tmp_path, ArchiveDamaged, context)


def test_a_content_that_asks_for_much_memory_is_refused(edited: Edited, tmp_path: Path) -> None:
    context = json.loads(edited.members[form.CONTEXTS])["sha256"]
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    edited.members[form.content_name(context)] = packer.compress(b"x" * 8500) + packer.flush()
    refused(edited.written(), tmp_path, ArchiveDamaged, "cannot be unpacked")


# Limits -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"archive_bytes": 1000}, "at most 1,000 are read"),
        ({"contents": 3}, "more than 3 contents"),
        ({"content_bytes": 100}, "more than 100 bytes"),
        ({"contents_bytes": 10_000}, "10,000 bytes unpacked"),
        ({"document_bytes": 100}, "at most 100 are read"),
        ({"line_bytes": 200}, "more than 200 bytes"),
        ({"rows": 5}, "more than 5 lines"),
        ({"depth": 2}, "nested more than 2"),
    ],
)
def test_each_limit_holds(whole: bytes, tmp_path: Path, limits: dict[str, int], word: str) -> None:
    refused(whole, tmp_path, ArchiveTooLarge, word, **limits)


def test_a_content_that_unpacks_without_end_is_refused_early(edited: Edited, tmp_path: Path) -> None:
    context = json.loads(edited.members[form.CONTEXTS])["sha256"]
    packer = zstandard.ZstdCompressor().compressobj()
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(256)) + packer.flush()
    assert len(bomb) < 100_000
    edited.members[form.content_name(context)] = bomb
    refused(edited.written(), tmp_path, ArchiveTooLarge, "more than", content_bytes=10 * 1024 * 1024)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_without_end_is_refused(edited: Edited, tmp_path: Path, opening: bytes) -> None:
    edited.members[form.NODES] = opening * 100_000 + b"\n"
    refused(edited.written(), tmp_path, ArchiveTooLarge, "nested too deeply")


def test_a_size_that_the_file_does_not_have_is_refused(whole: bytes, tmp_path: Path) -> None:
    data = form.header(form.README, 8 * 1024**3 - 1) + whole[form.BLOCK_BYTES :]
    refused(data, tmp_path, ArchiveDamaged, "in the middle")
    assert member("x", b"")[: form.BLOCK_BYTES] == form.header("x", 0)
