"""Daytona: a sandbox is a container or a virtual machine, its runner a command of a toolbox session."""

from sandboxes.providers.daytona.provider import DaytonaProvider

__all__ = ["DaytonaProvider"]
