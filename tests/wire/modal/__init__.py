"""Modal's API as its client 1.6.4 speaks it, over the engine."""
