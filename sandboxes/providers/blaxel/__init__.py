"""Blaxel: a sandbox is a micro virtual machine that falls asleep by itself; we speak to it over HTTP, without its SDK."""

from sandboxes.providers.blaxel.provider import BlaxelProvider

__all__ = ["BlaxelProvider"]
