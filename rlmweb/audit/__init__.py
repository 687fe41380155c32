"""Audit: who did what to whose data. Kept apart from a session's events."""
