"""E2B's protocols over the engine: its API, and envd, the service in each sandbox."""
