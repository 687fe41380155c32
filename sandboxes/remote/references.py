"""References that adapters make of sandboxes and snapshots: JSON objects of texts, with the provider's name in them."""

from __future__ import annotations

import json

from sandboxes.errors import NotFound


def parts_of(ref: str, field: str, *, provider: str, title: str) -> dict[str, str]:
    """All of it; `field` is there and no empty text. Raises `NotFound` for a reference of somebody else."""
    try:
        found = json.loads(ref)
        if found["provider"] == provider and isinstance(found[field], str) and found[field]:
            return dict(found)
    except (ValueError, KeyError, TypeError):
        pass
    raise NotFound(f"not a reference to anything at {title}", provider=provider)
