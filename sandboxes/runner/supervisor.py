"""The supervisor: speaks the protocol with the host, owns the REPL child, its clock and its output.

One thread, one `poll` loop. It shares no descriptor of the protocol with the child, checks every message from it, and
survives whatever the child does to itself.
"""

from __future__ import annotations

import os
import select
import time

from sandboxes.runner.cell import Cell
from sandboxes.runner.checks import Rejected, cell_error, check_payload, check_variables
from sandboxes.runner.evaluations import Evaluations
from sandboxes.runner.framelog import FrameLog
from sandboxes.runner.hostinput import HostInput
from sandboxes.runner.output import CellOutput
from sandboxes.runner.process import ReplProcess
from sandboxes.runner.repl import run_repl
from sandboxes.runner.restores import Restores
from sandboxes.runner.results import Results
from sandboxes.runner.setups import Setups
from sandboxes.runner.snapshots import Snapshots
from sandboxes.runner.strays import Strays
from sandboxes.runner.watcher import Watcher
from sandboxes.runner.wire import LineTooLong, Spool, clip, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sandboxes.runner.options import Options

INTERRUPT_GRACE_S = 1.0
"""From `KeyboardInterrupt` to the end of the process."""
DEFAULT_OUTPUT_BYTES = 4 * 1024 * 1024
MEETING_S = 0.05
"""How long to wait for forks that have not said who they are before everybody else is stopped or killed."""


class Supervisor:
    def __init__(self, options: Options, host_in: int, host_out: int, log: FrameLog) -> None:
        self.options = options
        self.host = HostInput(host_in)
        self.host_out = host_out
        self.log = log
        self.spool = Spool(options.workspace, "s")
        self.running = True
        self.cell: Cell | None = None
        self.cell_count = 0
        self.results = Results()
        self.waiting_exec: dict[str, Any] | None = None
        self.max_output_bytes = DEFAULT_OUTPUT_BYTES
        self.fresh_pipes = False
        self.strays = Strays(options.sweep)
        self.forks = Watcher()
        self.snapshots = Snapshots(options, log, self.spool, self.forks)
        self.evaluations = Evaluations(log, self.snapshots, self.forks)
        self.setups = Setups(log)
        self.restores = Restores(log)
        self.child = self._fork()

    # The loop ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the host closes the stream or says `shutdown`; then nothing of the sandbox is left."""
        os.set_blocking(self.host.descriptor, False)
        os.set_blocking(self.host_out, False)
        try:
            while self.running:
                self._poll_once()
                self._timers(time.monotonic())
                self._flush_host()
        finally:
            self.strays.kill(self.child.pid, [])
            self.child.kill()

    def _poll_once(self) -> None:
        readable = select.POLLIN
        poll = select.poll()
        poll.register(self.host.descriptor, readable)
        if self.log.pending:
            events = select.POLLOUT | (readable if self.host_out == self.host.descriptor else 0)
            poll.register(self.host_out, events)
        child = self.child
        if child.pidfd >= 0:
            poll.register(child.pidfd, readable)
        pipes = self.evaluations.pipes()
        if not self.log.full:
            poll.register(self.forks.fileno(), readable)
            poll.register(child.control, readable | (select.POLLOUT if child.wants_write else 0))
            pipes.update({pipe.descriptor: pipe for pipe in child.pipes if not pipe.closed})
        for descriptor in pipes:
            poll.register(descriptor, readable)
        now = time.monotonic()
        ready = poll.poll(max(0.0, (self._next_timer() - now) * 1000))
        now = time.monotonic()
        for descriptor, events in ready:
            if descriptor == self.host.descriptor and events & ~select.POLLOUT:
                self._read_host()
            elif descriptor == child.control:
                if events & select.POLLOUT:
                    child.write_some()
                if events & ~select.POLLOUT:
                    child.read()
            elif descriptor in pipes:
                pipes[descriptor].read(now)
        self._read_child()
        if not self.log.full:
            self.forks.read()
        if self.child is child and child.reap():
            self._child_ended()

    def _next_timer(self) -> float:
        # A pidfd tells of the child's end; without one the loop looks for it ten times a second.
        times = [time.monotonic() + (60.0 if self.child.pidfd >= 0 else 0.1)]
        times += [pipe.flush_at for pipe in self.child.pipes if pipe.waiting]
        times += [self.snapshots.next_timer(), self.evaluations.next_timer()]
        if self.cell:
            times.append(self.cell.deadline)
        return min(times)

    def _timers(self, now: float) -> None:
        for pipe in self.child.pipes:
            if pipe.due(now):
                pipe.flush(self.log.add)
        self.evaluations.check_clock(now)
        self.snapshots.check_clock(now)
        if self.snapshots.overdue(now):
            self.child.kill()
        cell = self.cell
        if cell and now >= cell.deadline:
            if cell.stop_reason:
                self.child.kill()
                cell.was_killed()
            else:
                self._stop_cell(cell, "timeout")

    def _flush_host(self) -> None:
        try:
            self.log.write_some(self.host_out)
        except OSError:
            self.running = False

    # From the host ----------------------------------------------------------------------------------------------

    def _read_host(self) -> None:
        for line in self.host.read():
            if line is None:
                self._error("too_large", "a line passed the limit of the protocol and was skipped")
            else:
                self._host_line(line)
        if self.host.ended:
            self.running = False

    def _host_line(self, line: bytes) -> None:
        frame: dict[str, Any] = {}
        try:
            frame = decode(line)
            handler = self._handlers().get(str(frame.get("type")))
            if handler is None:
                raise ValueError(f"unknown frame type {clip(str(frame.get('type')), 40)!r}")
            handler(frame)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._error("bad_frame", f"{type(error).__name__}: {error}", str(frame.get("id", "")))
        except OSError as error:
            self._error("internal", f"{type(error).__name__}: {error}", str(frame.get("id", "")))

    def _handlers(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        return {
            "attach": self._on_attach,
            "setup": self._on_setup,
            "exec": self._on_exec,
            "answer": self._on_answer,
            "ack": self._on_ack,
            "interrupt": self._on_interrupt,
            "shutdown": self._on_shutdown,
            "snapshot": self._on_snapshot,
            "restore": self._on_restore,
            "supply": self._on_supply,
            "side": self._on_side,
        }

    def _on_attach(self, frame: dict[str, Any]) -> None:
        after = int(frame.get("after", 0))
        self.log.rewind(after)  # only `ack` makes us forget: the host may have seen more than it has on record
        state: dict[str, Any] = {
            "type": "state",
            "id": str(frame["id"]),
            "last_seq": self.log.last_seq,
            "first_seq": self.log.first_seq,
            "setup": self.setups.done_id,
        }
        state.update(self.restores.state())
        snapshots = self.snapshots.states()
        if snapshots:
            state["snapshots"] = snapshots
        if self.cell:
            state.update(cell=self.cell.id, status="running", **self.cell.waiting(self.spool))
        state["finished"] = self.results.latest()
        self.log.add_unnumbered(state)

    def _on_setup(self, frame: dict[str, Any]) -> None:
        id = str(frame["id"])
        if self.setups.is_known(id):
            return
        if self.cell or self.setups.pending:
            self._error("busy", "a cell or a setup is running", id)
            return
        self.max_output_bytes = int(frame.get("max_output_bytes", DEFAULT_OUTPUT_BYTES))
        self.setups.begin(frame, self.child)

    def _on_exec(self, frame: dict[str, Any]) -> None:
        id = str(frame["id"])
        if self.cell and self.cell.id == id:
            return
        if self.results.was_started(id):
            self._repeat_result(id)
            return
        if self.setups.pending or self.restores.pending:
            self.waiting_exec = frame  # sent behind its setup to save a round trip
            return
        if self.cell:
            self._error("busy", "another cell is running", id)
            return
        code = frame["code"]
        if code.get("file"):
            os.stat(os.path.join(self.options.workspace, code["file"]))  # refused here rather than run as nothing
        self.results.note_started(id)
        self.cell_count += 1
        output = CellOutput(id, self.max_output_bytes)
        self.cell = Cell(id, float(frame.get("timeout_s", 0.0)), output)
        self.restores.untouched = False
        self.strays.thaw(self.child.pid)
        message = {"t": "exec", "n": self.cell_count, "code": code, "show": frame.get("show") is True}
        self.child.send_cell(message, output, fresh=self.fresh_pipes)
        self.fresh_pipes = False

    def _repeat_result(self, id: str) -> None:
        result = self.results.find(id)
        if result:
            self.log.add(dict(result))
            return
        self._error("busy", "this cell was run before and its result is no longer kept", id)

    def _on_answer(self, frame: dict[str, Any]) -> None:
        cell, call, index = self.cell, str(frame["call"]), int(frame.get("index", 0))
        if cell is None or not cell.accept_answer(call, index):
            return  # late, repeated, or for a cell that was stopped: no effect
        message: dict[str, Any] = {"t": "answer", "n": int(call[1:]), "i": index}
        if frame.get("error") is not None:
            message["error"] = str(frame["error"])
        else:
            message["payload"] = frame.get("text") or {"text": ""}
        self.child.send(message)

    def _on_ack(self, frame: dict[str, Any]) -> None:
        self.log.ack(int(frame["seq"]))
        self.snapshots.acked(int(frame["seq"]))

    def _on_interrupt(self, frame: dict[str, Any]) -> None:
        cell = self.cell
        if cell and cell.id == str(frame["cell"]) and not cell.stop_reason:
            self._stop_cell(cell, "timeout" if frame.get("reason") == "timeout" else "stop")

    def _stop_cell(self, cell: Cell, reason: str) -> None:
        cell.stop(reason, INTERRUPT_GRACE_S)
        self.child.interrupt()

    def _on_shutdown(self, frame: dict[str, Any]) -> None:
        self.running = False

    def _on_snapshot(self, frame: dict[str, Any]) -> None:
        if self.cell or self.setups.pending or self.restores.pending:
            self._error("busy", "a snapshot is taken between two cells", str(frame["id"]))
            return
        self.snapshots.request(frame, self.child)

    def _on_restore(self, frame: dict[str, Any]) -> None:
        refusal = "a cell is running" if self.cell else self.restores.request(frame, self.child)
        if refusal:
            self._error("busy", refusal, str(frame["id"]))

    def _on_supply(self, frame: dict[str, Any]) -> None:
        self.restores.supply(frame, self.child)

    def _on_side(self, frame: dict[str, Any]) -> None:
        self.evaluations.request(int(frame["n"]), frame["frame"])

    def _error(self, code: str, message: str, id: str = "") -> None:
        self.log.add({"type": "error", "code": code, "message": clip(message, 500), "id": clip(id, 200)})

    # From the child ---------------------------------------------------------------------------------------------

    def _read_child(self) -> None:
        child = self.child
        while self.child is child and not child.condemned and not self.log.full:
            try:
                line = child.lines.next_line()
                if line is None:
                    return
                self._child_message(decode(line))
            except (Rejected, LineTooLong, ValueError, KeyError, TypeError) as error:
                # Only code that took the child over writes anything else here: that process is finished.
                self._error("internal", f"the REPL process broke its protocol: {clip(str(error), 200)}")
                child.condemned = True
                child.kill()

    def _child_message(self, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if kind == "call":
            self._child_call(message)
        elif kind == "done":
            self._child_done(message)
        elif kind == "setup":
            self.setups.done(message)
            self._run_waiting()
        elif kind == "taken":
            self.snapshots.taken(message)
        elif kind == "need":
            self.restores.needs(message, self.cell)
        elif kind == "restored":
            self._restored(self.restores.done(message))
        else:
            raise Rejected(f"unknown message {kind!r}")

    def _child_call(self, message: dict[str, Any]) -> None:
        cell = self.cell
        if cell is None:
            return  # a thread that outlived its cell asks: it waits for ever, nothing is paid for
        call = cell.add_call(message)
        for pipe in self.child.pipes:
            pipe.flush(self.log.add)  # what was printed before the call is seen before it
        self.log.add(call)

    def _run_waiting(self) -> None:
        """Run the cell that was sent behind its setup or restore."""
        waiting, self.waiting_exec = self.waiting_exec, None
        if waiting:
            self._on_exec(waiting)

    def _restored(self, well: bool) -> None:
        if well:
            self._run_waiting()
        elif self.waiting_exec:
            waiting, self.waiting_exec = self.waiting_exec, None
            self._error("busy", "the restore before this cell failed", str(waiting["id"]))

    def _child_done(self, message: dict[str, Any]) -> None:
        cell = self.cell
        if cell is None:
            return
        result: dict[str, Any] = {"variables": check_variables(message.get("variables"))}
        for name in ("final", "value", "partial"):
            if message.get(name) is not None:
                result[name] = check_payload(message[name])
        status = "ok"
        if message.get("error") is not None:
            result["error"] = cell_error(message["error"])
            status = "error"
            if cell.stop_reason and message.get("interrupted") is True:
                status = "timeout" if cell.stop_reason == "timeout" else "interrupted"
        threads = message.get("threads")
        result["threads"] = threads if type(threads) is int and 0 <= threads < 1_000_000 else 0
        self._finish(cell, status, result)

    def _finish(self, cell: Cell, status: str, result: dict[str, Any]) -> None:
        self.snapshots.meet(MEETING_S)
        self.strays.freeze(self.child.pid, self.forks.lines())
        self.restores.cell_ended()
        now = time.monotonic()
        for pipe in self.child.pipes:
            if pipe.budget is cell.output:
                pipe.drain(now, self.log.add)
        cell.output.finished = True
        self.cell = None
        self.fresh_pipes = self.strays.frozen or result.get("threads", 0) > 0
        frame = {
            "type": "finished",
            "cell": cell.id,
            "status": status,
            "duration_ms": round((now - cell.started) * 1000, 3),
            "output_bytes": cell.output.output_bytes,
            "dropped_bytes": cell.output.dropped_bytes,
            **result,
        }
        self.log.add(frame)
        self.results.add(frame)

    def _child_ended(self) -> None:
        """The REPL process is gone: say so, and start a new one that has the contexts and tools but no variables."""
        child, cell = self.child, self.cell
        why = child.exit_text()
        self.snapshots.meet(MEETING_S)
        self.snapshots.repl_ended(why)
        if self.restores.repl_ended(why):
            self._restored(False)
        self.strays.kill(child.pid, self.forks.lines())
        if cell:
            if cell.stop_reason:
                why = f"the cell did not stop within {INTERRUPT_GRACE_S:g} s and was killed ({cell.stop_reason})"
            error = {
                "type": "ReplKilled",
                "message": f"{why}; all variables are lost, contexts are loaded again",
            }
            self._finish(cell, "killed", {"error": error})
        self.setups.repl_ended(why)
        child.close()
        self.fresh_pipes = False
        self.child = self._fork()
        self.setups.send(self.child)
        self._run_waiting()

    def _fork(self) -> ReplProcess:
        def main(control: int) -> None:
            run_repl(control, self.options)

        return ReplProcess(main, self.options.sweep, CellOutput("", self.max_output_bytes))
