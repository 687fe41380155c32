"""The journal of one step's LM calls: found again after a crash, so that no call is paid for twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from django.db import connection
from django.utils import timezone

from runs.engine.io import Ask, CallKey
from runs.models import LmCall
from runs.services.limits import Reservation


def request_sha256(ask: Ask, model: str) -> str:
    """What makes two calls the same call: the model, the messages and what shapes the reply."""
    digest = hashlib.sha256(model.encode())
    digest.update(msgspec.json.encode((ask.messages, ask.max_output_tokens, ask.extra)))
    return digest.hexdigest()


@dataclass(slots=True)
class Settlement:
    """What became of one call, to be written to its row."""

    row: LmCall
    status: str
    reply: str = ""
    error_type: str = ""
    error_message: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_micro_usd: int | None = None


class Journal:
    """Rows of one step. A step that is run for the first time starts with an empty one and asks nothing."""

    def __init__(self, rows: Iterable[LmCall] = ()) -> None:
        self._by_key = {CallKey(row.cell, row.subcall, row.index): row for row in rows}
        self._taken: set[int] = set()

    @classmethod
    def of_step(cls, step_pk: int) -> Journal:
        return cls(LmCall.objects.filter(step_id=step_pk))

    def find(self, key: CallKey, request: str) -> LmCall | None:
        """The row of the same request at the same place, or, when threads changed the order, anywhere in the cell."""
        row = self._by_key.get(key)
        if row is not None and row.request_sha256 == request and row.pk not in self._taken:
            self._taken.add(row.pk)
            return row
        for other_key, row in self._by_key.items():
            if other_key.cell == key.cell and row.request_sha256 == request and row.pk not in self._taken:
                self._taken.add(row.pk)
                return row
        return None

    def place_for(self, key: CallKey) -> CallKey:
        """A free place for a new row: the call's own, or beside it when code that ran again asked something else."""
        place, n = key, 2
        while place in self._by_key:
            place = CallKey(key.cell, f"{key.subcall}~{n}", key.index)
            n += 1
        return place

    def add(self, key: CallKey, row: LmCall) -> None:
        self._by_key[key] = row
        self._taken.add(row.pk)


def insert_calls(rows: Sequence[LmCall]) -> None:
    LmCall.objects.bulk_create(rows)


def settle_calls(settlements: Sequence[Settlement]) -> None:
    """Write the outcomes in one statement."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_lmcall AS call SET status = new.status, reply = new.reply, error_type = new.error_type,"
            " error_message = new.error_message, input_tokens = new.input_tokens, output_tokens = new.output_tokens,"
            " cost_micro_usd = new.cost, finished_at = %s, reserved_tokens = 0, reserved_micro_usd = 0"
            " FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int[], %s::int[],"
            " %s::bigint[]) AS new(id, status, reply, error_type, error_message, input_tokens, output_tokens, cost)"
            " WHERE call.id = new.id",
            [
                now,
                [s.row.pk for s in settlements],
                [s.status for s in settlements],
                [s.reply for s in settlements],
                [s.error_type for s in settlements],
                [s.error_message for s in settlements],
                [s.input_tokens for s in settlements],
                [s.output_tokens for s in settlements],
                [s.cost_micro_usd for s in settlements],
            ],
        )


def reservation_of(row: LmCall) -> Reservation:
    return Reservation(row.reserved_tokens, row.reserved_micro_usd, row.reserved_output_tokens or 0)
