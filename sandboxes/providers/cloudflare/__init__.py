"""Cloudflare: sandboxes behind a Worker of the team's own, which we reach by HTTP and WebSocket."""

from sandboxes.providers.cloudflare.provider import CloudflareProvider
from sandboxes.providers.cloudflare.worker_provider import CloudflareWorkerProvider

__all__ = ["CloudflareProvider", "CloudflareWorkerProvider"]
