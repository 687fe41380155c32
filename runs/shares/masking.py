"""Masking: known secrets in the forms in which they leak, and what looks like a key, an address or a number of a person.

Masking finds what it knows. Whoever must not see any text is shown none: see `runs.shares.redaction`.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "[hidden]"
LEAST_SECRET_CHARS = 4
PREFIX_CHARS = 4
"""Shorter ones would hide half of every text."""

_SEPARATORS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # ANSI sequences
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|[\s\x00-\x1f\x7f\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+"
)
"""What can be put between the characters of a word without changing how it reads."""

PATTERNS = re.compile(
    "|".join(
        (
            r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}",
            r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}",
            r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}",
            r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
            r"\bAIza[A-Za-z0-9_-]{30,}",
            r"\bhf_[A-Za-z0-9]{20,}|\brlm_[A-Za-z0-9_-]{20,}|\be2b_[a-z0-9]{20,}|\ba[ks]-[A-Za-z0-9]{20,}",
            r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            r"(?i:\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{12,})",
            r"(?i:\b(?:password|passwd|secret|api[_-]?key|access[_-]?token)\b\s*[:=]\s*[\"']?[^\s\"',;]{4,})",
            r"://[^/\s:@]+:[^/\s:@]+@",
            r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
            r"(?<![\w.])\+\d[\d ()/-]{7,}\d(?![\w.])|\(\d{3}\) ?\d{3}-\d{4}|\b\d{3}[-. ]\d{3}[-. ]\d{4}\b",
            r"(?i:\bMRN[ :#]*\d{5,})",
            r"\b\d{3}-\d{2}-\d{4}\b",
        )
    )
)
"""Keys of vendors, private keys, tokens, passwords beside their names, addresses, and numbers of people."""


class Masker:
    """Hides `secrets` (each at least `LEAST_SECRET_CHARS` long) and `PATTERNS` in texts."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._by_prefix: dict[str, list[str]] = {}
        for secret in {each.strip() for each in secrets}:
            if len(secret) >= LEAST_SECRET_CHARS:
                for form in forms_of(secret):
                    self._by_prefix.setdefault(form[:PREFIX_CHARS], []).append(form)

    def text(self, text: str) -> str:
        spans = [match.span() for match in PATTERNS.finditer(text)]
        spans += self._known(text)
        return _without(text, spans) if spans else text

    def _known(self, text: str) -> Iterable[tuple[int, int]]:
        if not self._by_prefix:
            return
        plain, places = _plain(text)
        for at in range(len(plain) - PREFIX_CHARS + 1):
            for form in self._by_prefix.get(plain[at : at + PREFIX_CHARS], ()):
                if plain.startswith(form, at):
                    yield places[at], places[at + len(form) - 1] + 1


def forms_of(secret: str) -> set[str]:
    """The secret as it is, reversed, in base64 at every alignment, hex, escapes of URLs, HTML, JSON and Python; each in
    the plain form of `_plain`."""
    raw = secret.encode()
    found = {secret, secret[::-1], raw.hex(), quote(secret, safe=""), html.escape(secret)}
    found |= {"".join(f"{mark}{byte:02x}" for byte in raw) for mark in ("%", "\\x", "0x", "0x,")}
    found |= {",".join(f"0x{byte:02x}" for byte in raw), ":".join(f"{byte:02x}" for byte in raw)}
    found |= {"".join(f"\\u{ord(each):04x}" for each in secret), "".join(f"&#{ord(each)};" for each in secret)}
    found |= {"".join(f"&#x{ord(each):x};" for each in secret), ",".join(str(byte) for byte in raw)}
    for altchars in (b"+/", b"-_"):
        for offset in range(3):
            packed = base64.b64encode(bytes(offset) + raw, altchars).decode().rstrip("=")
            # The characters at both ends also hold bits of what stands beside the secret.
            first = (0, 2, 3)[offset]
            last = len(packed) if (offset + len(raw)) % 3 == 0 else len(packed) - 1
            found.add(packed[first:last])
    plain = {_plain(each)[0] for each in found}
    return {each for each in plain if len(each) >= PREFIX_CHARS}


def _plain(text: str) -> tuple[str, list[int]]:
    """In lower case and without what can stand between characters, and where each character was."""
    kept: list[str] = []
    places: list[int] = []
    at = 0
    for match in _SEPARATORS.finditer(text):
        kept.append(text[at : match.start()])
        places.extend(range(at, match.start()))
        at = match.end()
    kept.append(text[at:])
    places.extend(range(at, len(text)))
    joined = "".join(kept)
    lowered = joined.lower()
    if len(lowered) != len(joined):  # some characters grow in lower case, and places would be off
        lowered = "".join(each.lower() if len(each.lower()) == 1 else each for each in joined)
    return lowered, places


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    out, at = [], 0
    for start, end in sorted(spans):
        if start >= at:
            out += [text[at:start], HIDDEN]
        at = max(at, end)
    return "".join([*out, text[at:]])
