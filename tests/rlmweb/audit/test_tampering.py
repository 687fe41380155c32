"""A slice of what `manage.py bench governance --only tamper` does 10,000 times."""

from __future__ import annotations

import random
import uuid

import pytest
from django.db import transaction

from rlmweb.audit.verify import verify
from rlmweb.bench.clean import clean_history
from rlmweb.bench.tampering import KINDS, is_found, write_log

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 11


def test_every_way_of_altering_is_found_and_the_log_itself_is_clean() -> None:
    """One kind of addition is not found as such, and does not have to be: a well-formed entry after the last checkpoint."""
    log, chance = write_log(8), random.Random(5)
    missed = [kind for kind in KINDS for _ in range(ROUNDS) if not is_found(log, kind, chance)]
    assert missed == []
    assert all(verify(each, log.anchors[each]).intact for each in (log.chain, log.other))


@pytest.mark.parametrize("seed", range(20))
def test_a_clean_history_raises_no_alarm(seed: int) -> None:
    chance = random.Random(seed)
    with transaction.atomic():
        chain, anchors = clean_history(uuid.uuid4(), chance)
        assert verify(chain, anchors).intact
        transaction.set_rollback(True)
