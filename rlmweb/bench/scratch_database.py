"""A database for a measurement alone, beside the installation's own and gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def scratch_database() -> Iterator[None]:
    """Django's default connection leads to it meanwhile. The server and its settings are the installation's."""
    # A pool would hold connections to a database that is about to go.
    pool = connection.settings_dict.get("OPTIONS", {}).pop("pool", None)
    connection.close()
    connection.settings_dict.setdefault("TEST", {})["NAME"] = f"rlmweb_bench_{os.getpid()}"
    before = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(before, verbosity=0)
        if pool is not None:
            connection.settings_dict["OPTIONS"]["pool"] = pool
