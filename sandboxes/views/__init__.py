"""Pages of the sandbox room."""
