"""`manage.py export_session` and `import_session`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from runs.blobs import blob_store
from runs.models import Session
from tests.factories import make_team, make_user
from tests.runs.replay.archive.archives import make_rich

pytestmark = pytest.mark.django_db(transaction=True)


def call(name: str, *arguments: object) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(name, *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_session_goes_into_a_file_and_comes_out_of_it(tmp_path: Path) -> None:
    source, path = make_rich(), tmp_path / "a.tar"
    exporter = source.created_by
    assert exporter is not None
    call("export_session", source.uuid, "--output", path, "--user", exporter.get_username())
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]
    with tarfile.open(path) as tar:
        assert tar.getnames()[0] == "README.txt"
        assert tar.getnames()[-1] == "checksums.json"
    team = make_team(slug="elsewhere")
    importer = make_user(team)
    options = (path, "--team", "elsewhere", "--user", importer.get_username())
    uuid = call("import_session", *options)[0].strip()
    session = Session.objects.get(uuid=uuid)
    assert (session.team, session.created_by, session.answer) == (team, importer, source.answer)
    again, said = call("import_session", *options)
    assert again.strip() == uuid
    assert "imported before" in said
    assert call("import_session", *options, "--again")[0].strip() != uuid


def test_what_is_not_there_or_not_yours_is_said(tmp_path: Path) -> None:
    source = make_rich()
    stranger = make_user(make_team())
    with pytest.raises(CommandError, match="no session"):
        call("export_session", source.uuid, "--user", stranger.get_username())
    with pytest.raises(CommandError, match="no team"):
        call("import_session", tmp_path / "x", "--team", source.team.slug, "--user", stranger.get_username())
    with pytest.raises(CommandError, match="No such file"):
        call("import_session", tmp_path / "x", "--user", stranger.get_username())
    (tmp_path / "x").write_bytes(b"not an archive" * 100)
    with pytest.raises(CommandError, match="no archive of a session"):
        call("import_session", tmp_path / "x", "--user", stranger.get_username())


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    source, path = make_rich(), tmp_path / "a.tar"
    assert source.created_by is not None
    path.write_text("what was there")
    blob_store().delete(source.context.sha256)
    with pytest.raises(CommandError, match="cannot be read"):
        call("export_session", source.uuid, "--output", path, "--user", source.created_by.get_username())
    assert path.read_text() == "what was there"
    assert [each.name for each in tmp_path.iterdir()] == ["a.tar"]
