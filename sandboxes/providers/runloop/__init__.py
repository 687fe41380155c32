"""Runloop: a sandbox is a devbox, its runner an asynchronous execution whose output is followed by its offset."""

from sandboxes.providers.runloop.provider import RunloopProvider

__all__ = ["RunloopProvider"]
