"""E2B: a sandbox is a Firecracker micro virtual machine made from a template.

This package has the name of the vendor's client: imports in it are absolute, and `import e2b` is the client.
"""

from sandboxes.providers.e2b.provider import E2BProvider

__all__ = ["E2BProvider"]
