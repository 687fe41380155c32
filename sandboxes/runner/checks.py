"""What the supervisor accepts from the REPL child. Everything else is a `Rejected`."""

from __future__ import annotations

from sandboxes.runner.wire import INLINE_PART_BYTES, INLINE_TEXT_BYTES, clean, clip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CALL_KINDS = ("llm", "rlm")
MAX_VARIABLES = 200
MAX_TRACEBACK_CHARS = 16_000
MAX_PAYLOAD_BYTES = 1 << 40
MAX_PART_BLOBS = 8_000
MAX_NEEDED = 10_000
HEX_DIGITS = frozenset("0123456789abcdef")


class Rejected(Exception):
    """The child said something it may not say."""


def required_text(value: object, limit: int) -> str:
    if type(value) is not str:
        raise Rejected("text expected")
    return clip(clean(value), limit)


def check_payload(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise Rejected("a payload must be an object")
    size = value.get("size_bytes")
    if type(size) is not int or not 0 <= size <= MAX_PAYLOAD_BYTES:
        raise Rejected("a payload needs its size")
    text, file = value.get("text"), value.get("file")
    if type(text) is str and file is None:
        if len(text) > INLINE_TEXT_BYTES:
            raise Rejected("inline text too long")
        return {"text": clean(text), "size_bytes": size}
    if type(file) is str and text is None and file.startswith(".rlm/out/") and ".." not in file and len(file) < 100:
        return {"file": clean(file), "size_bytes": size}
    raise Rejected("a payload holds a text or a file below .rlm/out/")


def check_blobs(value: Any) -> list[list[Any]]:
    """Hashes and sizes of contents."""
    if type(value) is not list or not 0 < len(value) <= MAX_PART_BLOBS:
        raise Rejected("a part holds contents")
    for entry in value:
        if type(entry) is not list or len(entry) != 2 or type(entry[0]) is not str or len(entry[0]) != 64:
            raise Rejected("a content has a hash and a size")
        if not set(entry[0]) <= HEX_DIGITS or type(entry[1]) is not int or not 0 <= entry[1] <= MAX_PAYLOAD_BYTES:
            raise Rejected("a content has a hash and a size")
    return value


def check_data(value: Any, size_bytes: int) -> str:
    """Contents in base64, as the host reads it: nothing else may pass, for the host ends who sends what it cannot read."""
    import binascii

    if type(value) is not str or not size_bytes <= INLINE_PART_BYTES:
        raise Rejected("a part is text of a bounded size")
    try:
        data = binascii.a2b_base64(value)
    except ValueError:
        data = b""
    if len(data) != size_bytes or binascii.b2a_base64(data, newline=False).decode() != value:
        raise Rejected("a part is base64 of its contents")
    return value


def check_hashes(value: Any) -> list[str]:
    if type(value) is not list or not 0 < len(value) <= MAX_NEEDED:
        raise Rejected("contents are asked for by their hashes")
    for sha256 in value:
        if type(sha256) is not str or len(sha256) != 64 or not set(sha256) <= HEX_DIGITS:
            raise Rejected("contents are asked for by their hashes")
    return value


def check_variables(value: object) -> list[dict[str, str]]:
    if type(value) is not list:
        return []
    result = []
    for item in value[:MAX_VARIABLES]:
        if type(item) is not dict:
            raise Rejected("a variable must be an object")
        limits = (("name", 100), ("type", 100), ("size", 40), ("preview", 200))
        result.append({name: required_text(item.get(name, ""), limit) for name, limit in limits})
    return result


def cell_error(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise Rejected("an error must be an object")
    return {
        "type": required_text(value.get("type", ""), 200) or "Exception",
        "message": required_text(value.get("message", ""), 4000),
        "traceback": required_text(value.get("traceback", ""), MAX_TRACEBACK_CHARS),
    }
