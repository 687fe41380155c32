"""What differs between two trees of `plain`, by element."""

from __future__ import annotations

from typing import Any


def _rlmweb_difference(before: str, after: str, path: str, max_entries: int, max_chars: int) -> None:
    """Print what differs as one line of ASCII JSON: `{"entries": [...], "cut": bool}`.

    An entry is `{"path", "what", "before", "after"}`, or `{"path", "what": "text", "lines"}` with the lines of a
    unified diff. what: `added`, `removed`, `changed`, `text`, `length`, `more` (differs where the trees were cut).
    """
    import json
    import os
    from builtins import dict, enumerate, len, list, max, min, range, repr, set, str
    from difflib import SequenceMatcher, unified_diff

    shown_chars, most_lines, most_members, context_chars = 300, 5000, 1000, 60
    entries: Any = []
    left = [max_chars]

    def full() -> bool:
        return len(entries) >= max_entries or left[0] <= 0

    def add(path: str, what: str, **more: Any) -> None:
        if not full():
            entries.append({"path": path[:shown_chars], "what": what, **more})
            left[0] -= len(json.dumps(entries[-1]))

    def short(node: Any) -> str:
        """A node on one line."""
        if node["k"] == "leaf":
            return str(node["v"])
        if node["k"] == "text":
            return repr(cut(node["v"]))
        if node["k"] == "set":
            text = "{" + ", ".join(node["v"][:50]) + "}"
        elif node["k"] == "items":
            text = "{" + ", ".join(key + ": " + short(each) for key, each in node["v"][:20]) + "}"
        else:
            text = "[" + ", ".join(short(each) for each in node["v"][:50]) + "]"
        return cut(text)

    def cut(text: str) -> str:
        return text if len(text) <= shown_chars else text[: shown_chars - 1] + "\u2026"

    def around(text: str, start: int) -> str:
        """The part of a line in which something differs."""
        begin = max(0, start - context_chars)
        part = text[begin : begin + shown_chars]
        return ("\u2026" if begin else "") + part + ("\u2026" if begin + shown_chars < len(text) else "")

    def same_start(a: Any, b: Any) -> int:
        most = min(len(a), len(b))
        for n in range(most):
            if a[n] != b[n]:
                return n
        return most

    def texts(path: str, a: Any, b: Any) -> None:
        if a["v"] == b["v"] and a.get("tail") == b.get("tail"):
            add(path, "more", before=str(a["n"]) + " characters", after=str(b["n"]) + " characters")
            return
        was_cut = "tail" in a or "tail" in b
        if a["v"] != b["v"]:
            lines(path, a["v"], b["v"], was_cut, False)
        if a.get("tail", "") != b.get("tail", ""):
            lines(path, a.get("tail", ""), b.get("tail", ""), False, True)
        if a["n"] != b["n"] and was_cut:
            add(path, "length", before=str(a["n"]), after=str(b["n"]))

    def lines(path: str, old: str, new: str, goes_on: bool, went_before: bool) -> None:
        """`goes_on`, `went_before`: a part of a longer text, so what has no partner at that end may have one outside."""
        a, b = old.split("\n"), new.split("\n")
        if len(a) == len(b) == 1 or len(a) > most_lines or len(b) > most_lines:
            start = same_start(old, new)
            add(path, "changed", before=around(old, start), after=around(new, start))
            return
        common = SequenceMatcher(None, a, b).get_matching_blocks()[:-1]
        if common and goes_on:
            a, b = a[: common[-1].a + common[-1].size], b[: common[-1].b + common[-1].size]
        if common and went_before:
            a, b = a[common[0].a :], b[common[0].b :]
        if a == b:
            return
        found = []
        for line in list(unified_diff(a, b, "before", "after", lineterm="", n=2))[2:]:
            found.append(cut(line))
            if len(found) >= 400:
                break
        add(path, "text", lines=found)

    def mappings(path: str, a: Any, b: Any) -> None:
        old, new = dict(a["v"]), dict(b["v"])
        # A key may be missing because the tree was cut before it came.
        for key in old:
            if key in new:
                compare(path + "[" + key + "]", old[key], new[key])
            elif len(b["v"]) == b["n"]:
                add(path + "[" + key + "]", "removed", before=short(old[key]))
        if len(a["v"]) == a["n"]:
            for key in new:
                if key not in old:
                    add(path + "[" + key + "]", "added", after=short(new[key]))
        rest(path, a, b)

    def rest(path: str, a: Any, b: Any) -> None:
        if a["n"] != b["n"]:
            add(path, "length", before=str(a["n"]), after=str(b["n"]))
        elif len(a["v"]) < a["n"] and not full():
            add(path, "more", before=str(len(a["v"])) + " of " + str(a["n"]), after="the rest is not compared")

    def lists(path: str, a: Any, b: Any) -> None:
        old, new = a["v"], b["v"]
        start = same_start(old, new)
        old, new = old[start:], new[start:]
        end = same_start(old[::-1], new[::-1]) if len(a["v"]) == a["n"] and len(b["v"]) == b["n"] else 0
        old, new = old[: len(old) - end], new[: len(new) - end]
        if len(old) > most_members or len(new) > most_members:
            replaced(path, start, old, new)
        else:
            keys = [[json.dumps(each) for each in members] for members in (old, new)]
            for tag, i, j, k, m in SequenceMatcher(None, keys[0], keys[1]).get_opcodes():
                if tag != "equal":
                    replaced(path, start + i, old[i:j], new[k:m], start + k)
        rest(path, a, b)

    def replaced(path: str, at: int, old: Any, new: Any, new_at: int = -1) -> None:
        pairs = min(len(old), len(new))
        for n in range(pairs):
            compare(path + "[" + str(at + n) + "]", old[n], new[n])
        for n, each in enumerate(old[pairs:]):
            add(path + "[" + str(at + pairs + n) + "]", "removed", before=short(each))
        place = at if new_at < 0 else new_at
        for n, each in enumerate(new[pairs:]):
            add(path + "[" + str(place + pairs + n) + "]", "added", after=short(each))

    def sets(path: str, a: Any, b: Any) -> None:
        old, new = set(a["v"]), set(b["v"])
        for each in a["v"]:
            if each not in new:
                add(path, "removed", before=each)
        for each in b["v"]:
            if each not in old:
                add(path, "added", after=each)
        rest(path, a, b)

    ways = {"text": texts, "items": mappings, "list": lists, "set": sets}

    def compare(path: str, a: Any, b: Any) -> None:
        if a == b or full():
            return
        if a["t"] != b["t"] or a["k"] != b["k"] or a["k"] == "leaf":
            types = a["t"] != b["t"]
            add(
                path,
                "changed",
                before=(a["t"] + ": " if types else "") + short(a),
                after=(b["t"] + ": " if types else "") + short(b),
            )
            return
        ways[a["k"]](path, a, b)

    compare(path, json.loads(before), json.loads(after))
    data = json.dumps({"entries": entries, "cut": full()}).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]
