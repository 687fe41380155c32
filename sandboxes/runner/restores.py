"""The supervisor's side of a restore: pass it to the REPL once, and carry what the REPL then needs of the host."""

from __future__ import annotations

from sandboxes.runner.checks import Rejected, cell_error, check_hashes, check_variables, required_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.cell import Cell
    from sandboxes.runner.framelog import FrameLog
    from sandboxes.runner.process import ReplProcess


class Restores:
    def __init__(self, log: FrameLog) -> None:
        self._log = log
        self.pending = ""
        """Id of the restore that the REPL is at."""
        self._reply: dict[str, Any] | None = None
        self._need: dict[str, Any] | None = None
        self._needs = 0
        self._waiting_cell: Cell | None = None
        self.untouched = True
        """Whether the REPL ran no cell and no restore yet."""

    def request(self, frame: dict[str, Any], child: ReplProcess) -> str:
        """Start a restore; the reason when that cannot be."""
        id = required_text(frame["id"], 200)
        if id == self.pending:
            return ""
        if self._reply and self._reply["id"] == id:
            self._log.add(dict(self._reply))
            return ""
        if not self.untouched:
            return "only a REPL that ran no cell can be brought to another state"
        message = {"t": "restore", "manifest": frame["manifest"], "eager": frame.get("eager") is True}
        self.untouched = False
        self.pending = id
        child.send(message)
        return ""

    def done(self, message: dict[str, Any]) -> bool:
        """The REPL is through; whether it went well. Raises `Rejected` when it was not asked."""
        if not self.pending:
            raise Rejected("no restore was asked for")
        reply: dict[str, Any] = {"type": "restored", "id": self.pending}
        if message.get("error") is not None:
            reply["error"] = cell_error(message["error"])
        reply["variables"] = check_variables(message.get("variables"))
        self._end(reply)
        return "error" not in reply

    def _end(self, reply: dict[str, Any]) -> None:
        self.pending = ""
        self._reply = reply
        self._log.add(dict(reply))

    def needs(self, message: dict[str, Any], cell: Cell | None) -> None:
        """The REPL wants contents; the clock of a cell stands still meanwhile."""
        blobs = check_hashes(message.get("blobs"))
        self._needs += 1
        self._settle_clock()  # an earlier wait that was interrupted
        self._need = {"type": "need", "id": f"n{self._needs}", "blobs": blobs}
        self._waiting_cell = cell
        if cell:
            cell.stop_clock()
        self._log.add(self._need)

    def supply(self, frame: dict[str, Any], child: ReplProcess) -> None:
        if not self._need or self._need["id"] != frame["id"]:
            return  # late or repeated: no effect
        self._need = None
        self._settle_clock()
        child.send({"t": "supply", "pack": str(frame.get("pack", "")), "blobs": frame.get("blobs", [])})

    def _settle_clock(self) -> None:
        if self._waiting_cell:
            self._waiting_cell.resume_clock()
            self._waiting_cell = None

    def cell_ended(self) -> None:
        self._need = self._waiting_cell = None

    def repl_ended(self, why: str) -> bool:
        """Whether that ended a restore."""
        self.cell_ended()
        self.untouched = True
        if self.pending:
            error = {"type": "ReplKilled", "message": f"the REPL process {why} while it was restored"}
            self._end({"type": "restored", "id": self.pending, "error": error})
            return True
        self._reply = None
        return False

    def state(self) -> dict[str, Any]:
        """For a new host: what is waited for."""
        return {"need": self._need} if self._need else {}
