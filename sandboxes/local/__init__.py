"""The local sandbox service: owns the sandboxes of this machine and outlives the workers that use them.

Standard library only, and no Django: it must start quickly and stay small. `python -m sandboxes.local.service`.
"""
