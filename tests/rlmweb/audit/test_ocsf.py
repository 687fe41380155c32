"""The OCSF export fits the published schema, class by class."""

from __future__ import annotations

import json
import uuid
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchema, OcsfJsonSchemaEmbedded, get_ocsf_schema

from rlmweb.audit.export import OCSF_VERSION, exported
from rlmweb.audit.record import record

pytestmark = pytest.mark.django_db(transaction=True)


@cache
def validator(class_uid: int) -> Draft202012Validator:
    schemas = OcsfJsonSchemaEmbedded(OcsfJsonSchema(get_ocsf_schema(OCSF_VERSION)))
    return Draft202012Validator(schemas.get_class_schema(schemas.lookup_class_name_from_uid(class_uid)))


def errors(event: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}"[:300] for error in validator(event["class_uid"]).iter_errors(event)]


@pytest.mark.parametrize("outcome", ["success", "denied", "error"])
@pytest.mark.parametrize("action", ["user.sign_in", "user.sign_out", "session.start", "session.delete", "snapshot.pin"])
def test_every_event_is_valid(action: str, outcome: str) -> None:
    team = uuid.uuid4()
    record(action, actor="ada", object_type="session", object_id="1", team_uuid=team, outcome=outcome)
    [event] = [json.loads(line) for line in exported(team, "ocsf")]
    assert errors(event) == []
    event.pop("time")
    assert errors(event), "a validator that accepts anything proves nothing"
