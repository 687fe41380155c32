"""Nobody gives up what somebody is copying: locks between forks of a session and the policy, pins and deleting.

Advisory, until the end of the transaction. Forks of one session do not wait for each other.
"""

from __future__ import annotations

import zlib

from django.db import connection

LOCK_SPACE = zlib.crc32(b"runs.giving_up") & 0x7FFFFFFF


def copying_from(session_pk: int) -> None:
    """Nothing of the session is given up until this transaction ends; waits for whoever is at it."""
    _lock("pg_advisory_xact_lock_shared", session_pk)


def giving_up_of(session_pk: int) -> None:
    """Nobody copies from the session, pins or deletes it until this transaction ends; waits for those who do."""
    _lock("pg_advisory_xact_lock", session_pk)


def _lock(function: str, session_pk: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [LOCK_SPACE, session_pk & 0x7FFFFFFF])
