"""Cloudflare: sandboxes behind a Worker of the team's own, which we reach by HTTP and WebSocket."""

from sandboxes.providers.cloudflare.provider import CloudflareProvider

__all__ = ["CloudflareProvider"]
