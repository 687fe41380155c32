"""A runner's host that takes snapshots, keeps their contents, and supplies them to another runner."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from sandboxes.manifest import Manifest, decode_manifest
from tests.sandboxes.runner.host import Frame, RunnerHost


class Store:
    """Contents by their hashes, and the manifests of snapshots."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.manifests: dict[str, str] = {}

    def manifest(self, id: str) -> Manifest:
        return decode_manifest(self.manifests[id])

    def take(self, host: RunnerHost, id: str, *, live: bool = True, durable: bool = True, full: bool = False) -> Frame:
        """Ask for a snapshot; the answer that the REPL goes on."""
        host.send({"type": "snapshot", "id": id, "live": live, "durable": durable, "full": full})
        return host.wait_type("snapshot_taken", id=id)

    def collect(self, host: RunnerHost, id: str) -> Frame:
        """Take in what is written down until the snapshot is done; parts are acknowledged as they come."""
        seen = 0
        while True:
            at = seen
            frame = host.wait(lambda f: f["type"] in ("snapshot_part", "snapshot_done"), after=at)
            seen = host.frames.index(frame, at) + 1
            if frame["type"] == "snapshot_part":
                self.keep(host, frame)
            elif frame["id"] == id:
                if "manifest" in frame:
                    self.manifests[id] = read_payload(host, frame["manifest"])
                return frame

    def keep(self, host: RunnerHost, part: Frame) -> None:
        data = read_part(host, part)
        if data:
            assert len(data) == sum(size for _, size in part["blobs"])
            for sha256, size in part["blobs"]:
                self.contents[sha256], data = data[:size], data[size:]
                assert hashlib.sha256(self.contents[sha256]).hexdigest() == sha256
        host.send({"type": "ack", "seq": part["seq"]})

    def snapshot(self, host: RunnerHost, id: str, **fields: bool) -> Manifest:
        self.take(host, id, **fields)
        done = self.collect(host, id)
        assert not done.get("error"), done
        return self.manifest(id)

    def supply(self, host: RunnerHost, need: Frame) -> None:
        folder = host.workspace / ".rlm" / "in"
        folder.mkdir(parents=True, exist_ok=True)
        found = [(sha256, self.contents[sha256]) for sha256 in need["blobs"] if sha256 in self.contents]
        (folder / f"{need['id']}.bin").write_bytes(b"".join(data for _, data in found))
        host.send(
            {
                "type": "supply",
                "id": need["id"],
                "pack": f".rlm/in/{need['id']}.bin",
                "blobs": [[sha256, len(data)] for sha256, data in found],
                "missing": [sha256 for sha256 in need["blobs"] if sha256 not in self.contents],
            }
        )

    def serve(self, host: RunnerHost, kind: str, **fields: Any) -> Frame:
        """Supply what is asked for until a frame of `kind` comes."""
        seen = 0
        while True:
            at = seen
            frame = host.wait(
                lambda f: f["type"] == "need" or (f["type"] == kind and all(f.get(n) == v for n, v in fields.items())),
                after=at,
            )
            seen = host.frames.index(frame, at) + 1
            if frame["type"] == kind:
                return frame
            self.supply(host, frame)

    def restore(self, host: RunnerHost, id: str, **fields: Any) -> Frame:
        host.send({"type": "restore", "id": f"restore-{id}", "manifest": self.payload(host, id), **fields})
        return self.serve(host, "restored")

    def payload(self, host: RunnerHost, id: str) -> dict[str, Any]:
        text = self.manifests[id]
        folder = host.workspace / ".rlm" / "in"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(text)
        return {"file": ".rlm/in/manifest.json", "size_bytes": len(text)}

    def run(self, host: RunnerHost, code: str, **fields: Any) -> Frame:
        cell = host.exec(code, **fields)
        finished = dict(self.serve(host, "finished", cell=cell))
        finished["stdout"] = host.output(cell)
        return finished


def read_part(host: RunnerHost, part: Frame) -> bytes:
    """Nothing when the file of the part is gone: it was acknowledged before."""
    if "data" in part:
        return base64.b64decode(part["data"], validate=True)
    path = host.workspace / part["file"]
    return path.read_bytes() if path.exists() else b""


def read_payload(host: RunnerHost, payload: dict[str, Any]) -> str:
    return str(payload["text"]) if "text" in payload else (host.workspace / payload["file"]).read_text()


def evaluate(host: RunnerHost, snapshot: str, code: str, **fields: Any) -> dict[str, Any]:
    """Evaluate as a side client whose lines the test wraps itself."""
    id = f"e{len(host.side)}"
    frame = {"type": "evaluate", "id": id, "snapshot": snapshot, "code": {"text": code}, **fields}
    host.send({"type": "side", "n": 1, "frame": frame})
    return host.wait_side(id)
