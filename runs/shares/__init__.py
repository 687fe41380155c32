"""Showing a session to others by link: what is shown, to whom, and until when."""
