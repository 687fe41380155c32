"""In the REPL: come back to the state of a manifest, and load its variables when code first names them.

Contents are asked for over the supervisor (`need`) and come in a file from the host (`supply`). What is in them is
checked by the restorer before it is used.
"""

from __future__ import annotations

import os

from sandboxes.runner.restoring import Restorer
from sandboxes.runner.wire import from_json, read_payload
from sandboxes.runner.workspace import bring_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.repl import Repl

NEEDED_AT_ONCE = 10_000


class ContentMissing(Exception):
    """The host does not have a content that the snapshot names (any more)."""


class Lazy:
    """What a restored REPL has not loaded yet. Without a restore there is nothing."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl
        self._restorer: Restorer | None = None

    def restore(self, message: dict[str, Any]) -> None:
        """Raises what the restorer raises; `ContentMissing`, `ValueError` or `OSError` for files."""
        repl = self._repl
        manifest = from_json(read_payload(repl.options.workspace, message["manifest"]))
        self._restorer = Restorer(repl.names.values, manifest, repl.leaves.get, self._fetch, repl.surroundings)
        repl.names.unloaded = self._restorer.unloaded
        repl.names.restore_scaffold()
        self._bring_files_back(manifest.get("files", []))
        self._restorer.files_are_back()
        if message.get("eager"):
            self._restorer.load_all()

    def _bring_files_back(self, files: list[dict[str, Any]]) -> None:
        import hashlib

        wanted = list({sha256 for state in files for sha256 in state.get("blobs", [])})
        contents = self._fetch(wanted) if wanted else {}
        for sha256, data in contents.items():
            if hashlib.sha256(data).hexdigest() != sha256:
                raise ValueError(f"the content {sha256} of a file is damaged")
        bring_back(self._repl.options.workspace, files, contents.__getitem__)

    @property
    def base(self) -> Any:
        """What the next snapshot is compared with; None when there was no restore."""
        return self._restorer.base if self._restorer else None

    def needed(self, code: Any) -> list[str]:
        """Variables that `code`, compiled, may use and that are not loaded."""
        if self._restorer is None or not self._restorer.unloaded:
            return []
        return list(self._restorer.needed_for(code))

    def load_for(self, code: Any) -> None:
        names = self.needed(code)
        if names and self._restorer is not None:
            self._restorer.load(names)

    def _fetch(self, hashes: list[str]) -> dict[str, bytes]:
        """Contents from the host, unchecked. Raises `ContentMissing`."""
        contents: dict[str, bytes] = {}
        for start in range(0, len(hashes), NEEDED_AT_ONCE):
            contents.update(self._fetch_some(hashes[start : start + NEEDED_AT_ONCE]))
        missing = [sha256 for sha256 in hashes if sha256 not in contents]
        if missing:
            raise ContentMissing(f"{len(missing)} contents of the snapshot are not there any more: {missing[0]}...")
        return contents

    def _fetch_some(self, hashes: list[str]) -> dict[str, bytes]:
        control = self._repl.control
        control.send({"t": "need", "blobs": hashes})
        supply = control.wait_for("supply")
        if not supply.get("pack"):
            return {}
        contents = {}
        with open(os.path.join(self._repl.options.workspace, str(supply["pack"])), "rb") as pack:
            for sha256, size in supply["blobs"]:
                contents[sha256] = pack.read(size)
        return contents
