"""The local provider: no wire, but the same suite."""
