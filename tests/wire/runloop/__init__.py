"""Runloop's REST API, held to the vendor's own models."""
