"""Blaxel's control plane and the API inside its sandboxes, as one HTTP server."""
