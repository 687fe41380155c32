"""Model calls and quotas: the worst case is reserved before a call goes out, what it took is settled after it.

Reservations of calls are kept in their journal rows (`LmCall`): they need no lease, since whoever takes the step over, or
ends it, finds them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rlmweb.quotas.booking import Amount, Entry, book
from rlmweb.quotas.errors import QuotaExceeded
from rlmweb.quotas.models import LedgerEntry
from rlmweb.quotas.warnings import warn
from runs.lm.prices import table_version
from runs.models import LmCall
from runs.services.limits import Reservation
from runs.services.quota_scopes import scopes_of_session
from runs.services.transaction import SessionTransaction


def admit(changes: SessionTransaction, wanted: Sequence[Reservation], at: datetime) -> tuple[int, QuotaExceeded | None]:
    """Reserve for these calls, which are noted as started `at`: for all, else for the first, else for none.

    Returns for how many, and what refused the rest.
    """
    changes.write_booked()  # what was given back in this transaction is there to be had
    refusal: QuotaExceeded | None = None
    for count in dict.fromkeys((len(wanted), 1)):
        try:
            _reserve(changes, wanted[:count], at)
        except QuotaExceeded as error:
            refusal = error
        else:
            return count, refusal
    return 0, refusal


def _reserve(changes: SessionTransaction, wanted: Sequence[Reservation], at: datetime) -> None:
    amounts = {
        "input_tokens": Amount(sum(each.tokens - each.output_tokens for each in wanted)),
        "output_tokens": Amount(sum(each.output_tokens for each in wanted)),
        "cost_micro_usd": Amount(sum(each.micro_usd for each in wanted)),
    }
    uuid = changes.session.uuid
    entry = Entry(LedgerEntry.Kind.RESERVE, uuid, at.astimezone(UTC).date(), uuid, table_version())
    for crossed in book(scopes_of_session(changes.session), amounts, entry, strict=True):
        warn(crossed)


def settle(
    changes: SessionTransaction, row: LmCall, *, input_tokens: int = 0, output_tokens: int = 0, micro_usd: int = 0
) -> None:
    """The call is over, with what it used; nothing where nobody knows. Written with the rest of the transaction."""
    if row.reserved_output_tokens is None:
        return  # from before there were quotas
    changes.booked.add(
        row.started_at.astimezone(UTC).date(),
        {
            "input_tokens": Amount(row.reserved_output_tokens - row.reserved_tokens, input_tokens),
            "output_tokens": Amount(-row.reserved_output_tokens, output_tokens),
            "cost_micro_usd": Amount(-row.reserved_micro_usd, micro_usd),
        },
    )
