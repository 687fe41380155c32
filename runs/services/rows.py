"""The hot path's statements: written out, since each costs half as much as through the ORM and every step makes a dozen."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

from django.db import connection

from runs.models import Node, SessionMeter, Step
from runs.services.leases import LEASE_S, WORKER_NAME

_METER_FIELDS = tuple(field.attname for field in SessionMeter._meta.concrete_fields)
_COLUMNS = ", ".join(_METER_FIELDS)
_LOCK_METER = f"SELECT {_COLUMNS} FROM runs_sessionmeter WHERE session_id = %s FOR UPDATE"  # noqa: S608  # nosec B608  # ours


def lock_meter(session_pk: int) -> SessionMeter:
    """The meter of a session, locked until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_METER, [session_pk])
        row = cursor.fetchone()
    if row is None:
        raise SessionMeter.DoesNotExist(f"session {session_pk} has no meter")
    return SessionMeter.from_db(connection.alias, _METER_FIELDS, row)


def save_meter(meter: SessionMeter, before: dict[str, int]) -> None:
    """Write what changed since `meter_values` gave `before`."""
    changed = {name: value for name, value in meter_values(meter).items() if value != before[name]}
    if changed:
        columns = ", ".join(f"{name} = %s" for name in changed)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE runs_sessionmeter SET {columns} WHERE session_id = %s",  # noqa: S608  # nosec B608  # our names
                [*changed.values(), meter.pk],
            )


def meter_values(meter: SessionMeter) -> dict[str, int]:
    return {name: getattr(meter, name) for name in _METER_FIELDS}


def save_step_state(step_pk: int, state: dict[str, object]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE runs_step SET state = %s WHERE id = %s", [json.dumps(state), step_pk])


def save_node(node: Node, state: dict[str, object], runner_seq: int) -> None:
    """The engine's state of the node, its sandbox, and how far the runner's frames are on record."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_node SET state = %s, sandbox_ref = %s, sandbox_uuid = %s, sandbox_generation = %s,"
            " runner_seq = %s WHERE id = %s",
            [json.dumps(state), node.sandbox_ref, node.sandbox_uuid, node.sandbox_generation, runner_seq, node.pk],
        )


def finish_step(step_pk: int, status: str, state: dict[str, object], node_state: dict[str, object]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_step SET status = %s, state = %s, node_state = %s, lease_token = NULL,"
            " lease_expires_at = NULL, finished_at = now() WHERE id = %s",
            [status, json.dumps(state), json.dumps(node_state), step_pk],
        )


def create_claimed_step(after: Step, token: UUID) -> Step:
    """The node's next step, owned by the holder of `token` from its first moment."""
    step = Step(session_id=after.session_id, node=after.node, number=after.number + 1, attempt=1, lease_token=token)
    step.uuid, step.status, step.worker = uuid4(), Step.Status.RUNNING, WORKER_NAME
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_step (uuid, session_id, node_id, number, status, attempt, crashes, lease_token,"
            " lease_expires_at, worker, state, error_type, error_message, created_at, started_at)"
            " VALUES (%s, %s, %s, %s, 'running', 1, 0, %s, clock_timestamp() + %s * interval '1 second', %s, '{}',"
            " '', '', now(), now()) RETURNING id",
            [step.uuid, step.session_id, after.node_id, step.number, token, LEASE_S, WORKER_NAME],
        )
        (step.pk,) = cursor.fetchone()
    return step
