"""The prompt profiles."""
