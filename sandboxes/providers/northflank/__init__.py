"""Northflank: a sandbox is a deployment service in a project, its runner an exec session over a WebSocket."""

from sandboxes.providers.northflank.provider import NorthflankProvider

__all__ = ["NorthflankProvider"]
