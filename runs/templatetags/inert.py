"""Text from sandboxes and models, made to be read and not to act: as `inert` in `static/js/run/format.js`."""

from __future__ import annotations

import re

from django import template

register = template.Library()

_COLOURS = re.compile("\x1b\\[[\\d;:]*m")
_ACTING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|\r\n?"
)


@register.filter
def inert(text: object) -> str:
    """Without terminal colours, and with code points in place of what would act on the reader. Still to be escaped."""
    return _ACTING.sub(_shown, _COLOURS.sub("", str(text)))


def _shown(match: re.Match[str]) -> str:
    found = match.group()
    return "\n" if found[0] == "\r" else f"\u27e8U+{ord(found):04X}\u27e9"
