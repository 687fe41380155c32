"""The supervisor's handle on the REPL process."""

from __future__ import annotations

import errno
import os

import pytest

from sandboxes.runner import process


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Let `os.fork` fail so many times, as it does where a sandbox has all the processes it may have."""
    tries: list[int] = []

    def fork() -> int:
        tries.append(1)
        if len(tries) <= times:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return 4711

    monkeypatch.setattr(os, "fork", fork)
    return tries


@pytest.mark.parametrize("sweep", ["all", "group"])
def test_a_full_sandbox_is_tried_again_until_the_killed_are_collected(
    sweep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_collect_ended", lambda: None)  # of this process it would take the tests' own
    tries = refuse(monkeypatch, 3)
    assert process._fork_when_allowed(sweep) == 4711
    assert len(tries) == 4


def test_a_sandbox_that_stays_full_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FORK_PATIENCE_S", 0.05)
    tries = refuse(monkeypatch, 10**9)
    with pytest.raises(BlockingIOError):
        process._fork_when_allowed("group")
    assert len(tries) > 1
