"""A session in the terminal: the same events and the same fold as in the browser."""
