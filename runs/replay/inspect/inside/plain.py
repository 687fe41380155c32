"""A value as a tree of plain data, so that two of them can be compared where neither of them lives."""

from __future__ import annotations

from typing import Any


def _rlmweb_plain(value: Any, max_chars: int, start: int) -> None:
    """Print `value` as one line of ASCII JSON of about `max_chars`; of a text, what begins at `start`.

    A node is `{"t": type, "k": kind, "v": ..., "n": length}`. kinds: `text` (`v`: its head; `tail` and the `sha256` of
    the whole when it was cut), `items` (pairs of a key's repr and a node: mappings, attributes), `list` (nodes), `set`
    (reprs), `leaf` (a repr). `n` larger than what stands in `v` says that the rest was cut. A value that is a long text
    has `blocks` besides: a short hash for each 4,096 characters, to find where two of them begin to differ.
    """
    import hashlib
    import json
    import os
    from builtins import BaseException, bytearray, bytes, callable, dict, frozenset, getattr, id, isinstance, iter, len
    from builtins import list, map, memoryview, min, range, repr, set, sorted, str, sum, tuple, type
    from collections import deque
    from itertools import islice

    head_chars, tail_chars, leaf_chars, deepest, most_cells = max_chars // 8, max_chars // 16, 400, 40, 20_000
    block_chars, most_blocks = 4096, 2500
    left = [max_chars]
    around = set()

    def shown(each: Any) -> str:
        try:
            text = str(repr(each))
        except BaseException as error:
            text = "<repr failed: " + type(error).__name__ + ">"
        return text if len(text) <= leaf_chars else text[: leaf_chars - 1] + "\u2026"

    def leaf(kind: str, text: str) -> Any:
        left[0] -= len(text) + 40
        return {"t": kind, "k": "leaf", "v": text, "n": 0}

    def hashed(text: str) -> str:
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def text_of(kind: str, text: str, depth: int) -> Any:
        most = head_chars if depth else max_chars // 2
        node = {"t": kind, "k": "text", "v": text, "n": len(text)}
        if len(text) > most:
            node["sha256"] = hashed(text)
            node["v"], node["tail"] = text[start : start + most - tail_chars], text[-tail_chars:]
            if depth == 0:
                ends = range(0, min(len(text), block_chars * most_blocks), block_chars)
                node["blocks"] = [hashed(text[at : at + block_chars])[:8] for at in ends]
        left[0] -= min(len(text), most) + 40
        return node

    def items_of(kind: str, mapping: Any, depth: int) -> Any:
        found = []
        for key in islice(dict.__iter__(mapping), left[0]):
            if left[0] <= 0:
                break
            name = shown(key)
            left[0] -= len(name)
            found.append([name, walk(dict.__getitem__(mapping, key), depth + 1)])
        return {"t": kind, "k": "items", "v": found, "n": dict.__len__(mapping)}

    def list_of(kind: str, sequence: Any, depth: int) -> Any:
        found = []
        for each in islice(iter(sequence), left[0]):
            if left[0] <= 0:
                break
            found.append(walk(each, depth + 1))
        return {"t": kind, "k": "list", "v": found, "n": len(sequence)}

    def set_of(kind: str, members: Any) -> Any:
        found = sorted(map(shown, islice(iter(members), min(left[0] // 10, most_cells))))
        left[0] -= sum(map(len, found))
        return {"t": kind, "k": "set", "v": found, "n": len(members)}

    def tabular(each: Any) -> Any:
        """Small arrays and frames as lists: what changed in them is then seen by element."""
        package, kind = str(getattr(type(each), "__module__", "")).partition(".")[0], type(each).__name__
        if package not in ("numpy", "pandas") or not 0 < getattr(each, "size", 0) <= most_cells:
            return None
        if kind == "DataFrame":
            return {str(column): each[column].tolist() for column in each.columns}
        return each.tolist() if kind in ("ndarray", "Series") else None

    def inner(kind: str, each: Any, depth: int) -> Any:
        if isinstance(each, dict):
            return items_of(kind, each, depth)
        if isinstance(each, (list, tuple, deque)):
            return list_of(kind, each, depth)
        if isinstance(each, (set, frozenset)):
            return set_of(kind, each)
        plain = tabular(each)
        if plain is not None:
            return {**walk(plain, depth + 1), "t": kind}
        own = getattr(each, "__dict__", None)
        if type(own) is dict and own and type(each).__module__ == "__main__" and not callable(each):
            return items_of(kind, own, depth)
        return leaf(kind, shown(each))

    def walk(each: Any, depth: int) -> Any:
        kind = str(type(each).__name__)[:200]
        if isinstance(each, str):
            return text_of(kind, str.__str__(each), depth)
        if isinstance(each, (bytes, bytearray, memoryview)):
            return text_of(kind, bytes(each).decode("latin-1"), depth)
        if depth >= deepest or id(each) in around:
            return leaf(kind, "<holds itself, or is nested too deeply>")
        around.add(id(each))
        try:
            return inner(kind, each, depth)
        finally:
            around.discard(id(each))

    data = json.dumps(walk(value, 0)).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]
