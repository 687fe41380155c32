"""The default model: a small coder model on this machine's processor, in a process of its own, without any key.

`status()` is for pages. The process is `python -m runs.lm.embedded.sidecar`; callers reach it through the LM client.
"""

from runs.lm.embedded.reporting import StatusInfo, request_retry, status

__all__ = ["StatusInfo", "request_retry", "status"]
