"""Forks: new sessions that go on from a step of another, with something changed."""

from runs.replay.forks.errors import CannotFork
from runs.replay.forks.starting import fork_session

__all__ = ["CannotFork", "fork_session"]
