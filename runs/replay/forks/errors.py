"""What a fork can be refused for."""

from __future__ import annotations


class CannotFork(ValueError):
    """The fork cannot be made as asked; the message says why and what to do. Nothing was written."""
