"""JSON lines: encode, decode, split a byte stream into bounded lines, make text safe to store.

The C half of the `json` module is used directly where it is there: importing the package costs as much as starting the
interpreter, because its decoder compiles regular expressions.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PROTOCOL_VERSION = 2
MAX_LINE_BYTES = 1024 * 1024
INLINE_TEXT_BYTES = 32 * 1024
"""Text above this travels as a file below `.rlm/`."""
INLINE_PART_BYTES = 24 * 1024
"""Contents of a snapshot that travel in the frame; base64 makes a third more of them."""
INLINE_TOTAL_BYTES = 512 * 1024
"""Most inline text in one line, so that a batch of many small prompts still fits."""


class LineTooLong(Exception):
    """A line passed its limit; it was skipped up to its newline."""


class _ScannerOptions:
    """What the C scanner reads from a `json.JSONDecoder`."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError(f"{name} is not JSON")


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _fast_codec() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    from _json import encode_basestring, make_encoder, make_scanner  # type: ignore[import-not-found,unused-ignore]

    chunks = make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, False)
    scan = make_scanner(_ScannerOptions())  # type: ignore[arg-type,unused-ignore]

    def to_json(value: Any) -> str:
        return "".join(chunks(value, 0))

    def from_json(text: str) -> Any:
        text = text.strip(" \t\r\n")
        try:
            value, end = scan(text, 0)
        except StopIteration as stop:
            raise ValueError(f"not JSON at character {stop.value}") from None
        if end != len(text):
            raise ValueError(f"text after the JSON value at character {end}")
        return value

    probe = {"a": [1, 2.5, None, True, 'x"\u20ac\n']}
    if from_json(to_json(probe)) != probe:
        raise ImportError("the C half of json behaves in a way this module does not know")
    return to_json, from_json


def _plain_codec() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    import json

    def to_json(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    return to_json, json.loads


try:
    to_json, from_json = _fast_codec()
except (ImportError, TypeError, AttributeError):
    to_json, from_json = _plain_codec()


def encode(message: dict[str, Any]) -> bytes:
    """One line, newline included. Text in `message` must be clean (see `clean`)."""
    return to_json(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises `ValueError` when the line is not one JSON object in UTF-8."""
    try:
        value = from_json(line.decode())
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if type(value) is not dict:
        raise ValueError("a line must be one JSON object")
    return value


def clean(text: str) -> str:
    """`text` that every store takes: no lone surrogates, no NUL (shown as U+2400)."""
    text = str.__str__(text)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\x00", "\u2400")


def clip(text: str, limit: int) -> str:
    """`text` with its middle cut out when it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    half = max(limit // 2 - 20, 1)
    return f"{text[:half]}\n... [{len(text) - 2 * half} characters cut] ...\n{text[-half:]}"


class LineReader:
    """Splits a byte stream into lines of at most `max_bytes`."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def has_some(self) -> bool:
        return bool(self._buffer)

    def next_line(self) -> bytes | None:
        """The next whole line without its newline, or None. Raises `LineTooLong` once for a line that was skipped."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > self._max_bytes:
                self._buffer.clear()
                self._searched = 0
                if not self._skipping:
                    self._skipping = True
                    raise LineTooLong
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        if self._skipping:
            self._skipping = False
            return self.next_line()
        if len(line) >= self._max_bytes:
            raise LineTooLong
        return line


class Spool:
    """Texts too large for a line, as files below `<workspace>/.rlm/out/`."""

    def __init__(self, workspace: str, prefix: str) -> None:
        self._workspace = workspace
        self._prefix = prefix
        self._count = 0

    def payload(self, text: str, inline_left: int = INLINE_TOTAL_BYTES) -> dict[str, Any]:
        """`text` as a payload: inline when it is small and fits in `inline_left`, else written to a file."""
        if len(text) <= INLINE_TEXT_BYTES and len(text) <= inline_left:
            data_size = len(text) if text.isascii() else len(text.encode())
            if data_size <= min(INLINE_TEXT_BYTES, inline_left):
                return {"text": text, "size_bytes": data_size}
        data = text.encode()
        self._count += 1
        path = f".rlm/out/{self._prefix}{self._count}.txt"
        full = os.path.join(self._workspace, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        return {"file": path, "size_bytes": len(data)}

    def payloads(self, texts: list[str]) -> list[dict[str, Any]]:
        left = INLINE_TOTAL_BYTES
        result = []
        for text in texts:
            payload = self.payload(text, left)
            if "text" in payload:
                left -= payload["size_bytes"] + 64
            result.append(payload)
        return result


def read_payload(workspace: str, payload: dict[str, Any]) -> str:
    """The text of a payload from the host, which names files relative to the workspace."""
    if payload.get("text") is not None:
        return str(payload["text"])
    if not payload.get("file"):
        return ""
    with open(os.path.join(workspace, payload["file"]), "rb") as stream:
        return stream.read().decode("utf-8", "replace")
