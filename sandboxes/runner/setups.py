"""The supervisor's side of a setup: pass it to the REPL, and again to each REPL that takes the place of another."""

from __future__ import annotations

from sandboxes.runner.checks import cell_error, check_variables, required_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.framelog import FrameLog
    from sandboxes.runner.process import ReplProcess

PASSED_ON = ("contexts", "tools", "history", "recursion", "clock", "seed", "snapshots")


class Setups:
    def __init__(self, log: FrameLog) -> None:
        self._log = log
        self._frame: dict[str, Any] | None = None
        """What a new REPL needs."""
        self._reply: dict[str, Any] | None = None
        self._loading = False
        self.done_id = ""
        self.pending = ""

    def is_known(self, id: str) -> bool:
        """Whether this setup is being carried out, or was; then it is answered again."""
        if id == self.done_id and self._reply:
            self._log.add(dict(self._reply))
            return True
        return id == self.pending

    def begin(self, frame: dict[str, Any], child: ReplProcess) -> None:
        self._frame = frame
        self.pending = str(frame["id"])
        self.send(child)

    def send(self, child: ReplProcess) -> None:
        """Prepare a REPL."""
        if self._frame:
            self._loading = True
            child.send({"t": "setup", **{name: self._frame[name] for name in PASSED_ON if name in self._frame}})

    def done(self, message: dict[str, Any]) -> None:
        """The REPL is prepared. Raises `Rejected` for a report that is none."""
        self._loading = False
        if not self.pending:
            return  # the REPL was started anew by itself: nobody asked
        reply: dict[str, Any] = {"variables": check_variables(message.get("variables"))}
        notes = message.get("notes")
        if type(notes) is list and notes:
            reply["notes"] = [required_text(note, 500) for note in notes[:20]]
        if message.get("error") is not None:
            reply["error"] = cell_error(message["error"])
        self._end(reply)

    def repl_ended(self, why: str) -> None:
        if self.pending:
            error = {"type": "ReplKilled", "message": f"the REPL process {why} while it was set up"}
            self._end({"error": error})
        if self._loading:
            # Loading the contexts is what killed it: another try would end the same way.
            self._frame, self._loading = None, False

    def _end(self, fields: dict[str, Any]) -> None:
        self.done_id, self.pending = self.pending, ""
        self._reply = {"type": "setup_done", "id": self.done_id, **fields}
        self._log.add(dict(self._reply))
