"""How much people may keep busy: at once, and in a minute."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from runs.replay.inspect.errors import TooManyEvaluations
from runs.replay.inspect.slots import Slots


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_person_has_a_few_at_once_and_gets_them_back() -> None:
    slots = Slots(per_user=2)
    with slots.taken(1), slots.taken(1):
        with pytest.raises(TooManyEvaluations, match="2 running already"), slots.taken(1):
            pass
        with slots.taken(2):
            pass
    with slots.taken(1):
        pass


def test_an_error_gives_the_slot_back() -> None:
    slots = Slots(per_user=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), slots.taken(1):
            raise ZeroDivisionError


def test_all_together_have_a_bound() -> None:
    slots = Slots(per_user=2, in_all=3)
    with ExitStack() as held:
        for user in (1, 2, 3):
            held.enter_context(slots.taken(user))
        with pytest.raises(TooManyEvaluations), slots.taken(4):
            pass


def test_a_minute_has_a_bound_and_says_when_to_come_back() -> None:
    clock = Clock()
    slots = Slots(per_minute=3, clock=clock)
    for _ in range(3):
        with slots.taken(1):
            clock.now += 10
    with pytest.raises(TooManyEvaluations) as caught, slots.taken(1):
        pass
    assert caught.value.retry_after_s == 31
    assert "31 s" in caught.value.hint
    with slots.taken(2):
        pass
    clock.now += caught.value.retry_after_s
    with slots.taken(1):
        pass
