"""Stand-in for capture and restore until they are there: plain pickles, everything each time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Tracker:
    def __init__(self, values: dict[str, Any], is_captured: Callable[[str], bool]) -> None:
        self.values = values

    def note_cell(self, code: Any) -> None:
        pass

    def mark(self, snapshot: str) -> None:
        pass

    def since(self, snapshot: str) -> set[str] | None:
        return None


def capture(
    values: dict[str, Any],
    touched: set[str] | None,
    base: Any,
    known_leaves: dict[str, Any],
    sink: Callable[[str, bytes], None],
    exclude: dict[str, str],
    progress: Callable[[str], None],
) -> tuple[dict[str, Any], Any]:
    import hashlib
    import pickle
    import sys

    def put(data: bytes) -> str:
        sha = hashlib.sha256(data).hexdigest()
        sink(sha, data)
        return sha

    pieces, variables, dropped = [], [], []
    for name, value in values.items():
        if name.startswith("__") or "query" in name or name in ("SHOW_VARS", "FINAL", "FINAL_VAR", "answer"):
            continue
        progress(name)
        if name in exclude:
            dropped.append({"name": name, "type": type(value).__name__, "reason": exclude[name]})
            continue
        try:
            data = pickle.dumps(value)
        except Exception as error:
            dropped.append({"name": name, "type": type(value).__name__, "reason": str(error)[:100]})
            continue
        descriptor = f'{{"blocks":["{put(data)}"]}}'.encode()
        pieces.append({"names": [name], "blob": put(descriptor), "size_bytes": len(data)})
        variables.append({"name": name, "type": type(value).__name__, "digest": hashlib.sha256(data).hexdigest()})
    manifest = {
        "version": 1,
        "python": sys.version.split()[0],
        "variables": variables,
        "pieces": pieces,
        "dropped": dropped,
    }
    return manifest, None


class Restorer:
    def __init__(
        self,
        values: dict[str, Any],
        manifest: dict[str, Any],
        have: Callable[[str], Any],
        fetch: Callable[[list[str]], dict[str, bytes]],
    ) -> None:
        self.values = values
        self.fetch = fetch
        self.pieces = {piece["names"][0]: piece for piece in manifest["pieces"]}
        self.unloaded = {v["name"]: v for v in manifest["variables"]}
        self.base = None

    def needed_for(self, code: Any) -> list[str]:
        return list(self.unloaded)

    def load(self, names: list[str]) -> None:
        import hashlib
        import json
        import pickle

        for name in names:
            [raw] = self.fetch([self.pieces[name]["blob"]]).values()
            sha = json.loads(raw)["blocks"][0]
            data = self.fetch([sha])[sha]
            if hashlib.sha256(data).hexdigest() != sha:
                raise ValueError(f"content {sha} is damaged")
            self.values[name] = pickle.loads(data)  # noqa: S301
            del self.unloaded[name]

    def load_all(self) -> None:
        self.load(list(self.unloaded))
