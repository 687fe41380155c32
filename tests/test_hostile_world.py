"""Nobody adds a text without saying whether somebody hostile can write it."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.hostile import PAYLOADS
from tests.hostile_world import BY_HAND, OURS, PLANTED, make_hostile_world, text_columns


def test_every_column_of_text_is_hostile_or_says_why_not() -> None:
    found = {f"{model}.{name}" for model, names in text_columns().items() for name in names}
    listed = [
        f"{model}.{name}" for table in (PLANTED, BY_HAND, OURS) for model, names in table.items() for name in names
    ]
    assert found == set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.django_db(transaction=True)
def test_every_payload_stands_somewhere(settings: Any) -> None:
    settings.SECRET_KEYS_AT_REST = (Fernet.generate_key().decode(),)
    _, hostile = make_hostile_world()
    assert set(PAYLOADS) - hostile.used == set()
