"""`llm_query` and its siblings in the REPL: ask the host, wait for the answers.

Any thread may ask. There is no reader thread (it would not survive a fork): of the threads that wait, one reads the
control socket for all and hands the job on when its own answers are there. Between two cells the main thread alone
reads: a thread that outlived its cell would otherwise take the next cell's code for an answer and drop it.
"""

from __future__ import annotations

import _thread
import os
import select

from sandboxes.runner.wire import MAX_LINE_BYTES, LineReader, Spool, clean, decode, encode, read_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


POLL_MS = 50
"""How soon a reader notices that nobody waits any more; only threads that outlive their cell make anybody wait for it."""
TAKE_OVER_S = 1.0
ENDED = "Error: the cell that asked has ended"


class Control:
    """The REPL's end of the control socket."""

    def __init__(self, descriptor: int) -> None:
        import _socket

        self.socket = _socket.socket(fileno=descriptor)
        self.descriptor = descriptor
        self.lines = LineReader(2 * MAX_LINE_BYTES)  # what fits in a line of the host fits here, however it is escaped
        self._descriptors: list[int] = []
        self.busy = False
        """True while bytes are between the socket and their owner: an interrupt must wait."""
        self._send_lock = _thread.allocate_lock()

    def send(self, message: dict[str, Any]) -> None:
        data = encode(message)
        with self._send_lock:
            self.socket.sendall(data)

    def next_message(self) -> dict[str, Any]:
        """Block for the next message from the supervisor. Ends the process when the supervisor is gone."""
        while True:
            line = self.lines.next_line()
            if line is not None:
                return decode(line)
            self.wait_readable(None)
            self.receive()

    def has_message(self, timeout_ms: int = 0) -> bool:
        """Whether anything has come that was not handled yet, or does within so long."""
        return self.lines.has_some() or self.wait_readable(timeout_ms)

    def wait_for(self, kind: str) -> dict[str, Any]:
        """Block for a message of one kind; an interrupt may end the wait, but never loses half a message."""
        while True:
            line = self.lines.next_line()
            if line is None:
                self.wait_readable(None)
                self.busy = True
                try:
                    self.receive()
                finally:
                    self.busy = False
                continue
            message = decode(line)
            if message.get("t") == kind:
                return message

    def take(self, count: int) -> list[int]:
        """The next `count` descriptors that came with messages, fewer when they did not get through."""
        taken = self._descriptors[:count]
        del self._descriptors[:count]
        return taken

    def wait_readable(self, timeout_ms: int | None) -> bool:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(timeout_ms))

    def receive(self) -> None:
        """Take what is there, with descriptors that come along."""
        import _socket

        data, ancillary, _, _ = self.socket.recvmsg(65536, 64, _socket.MSG_CMSG_CLOEXEC)
        for level, kind, body in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                for start in range(0, len(body) - 3, 4):
                    self._descriptors.append(int.from_bytes(body[start : start + 4], "little"))
        if not data:
            os._exit(0)
        self.lines.feed(data)


class _Pending:
    """One sub-call that is waited for."""

    def __init__(self, count: int) -> None:
        self.results: list[str] = [""] * count
        self.left = count
        self.wake = _thread.allocate_lock()
        self.wake.acquire()

    def wake_up(self) -> None:
        try:
            self.wake.release()
        except RuntimeError:
            pass  # it is awake already


class Queries:
    """The functions that the code of a cell calls."""

    def __init__(self, control: Control, workspace: str) -> None:
        self._control = control
        self._workspace = workspace
        self._spool = Spool(workspace, "p")
        self._pid = os.getpid()
        self._lock = _thread.allocate_lock()
        self._reading = _thread.allocate_lock()
        self._pending: dict[int, _Pending] = {}
        self._late: list[_Pending] = []
        self._count = 0
        self._in_cell = False
        self._main_reads = False
        self.main_thread = _thread.get_ident()

    def begin_cell(self) -> None:
        """From now on calls belong to the new cell. Threads of the one before that asked meanwhile get an error."""
        with self._lock:
            self._count = 0
            self._in_cell = True
            late, self._late = self._late, []
        if self._main_reads:
            self._main_reads = False
            self._reading.release()
        _abandon(late)

    def end_cell(self) -> None:
        """Whoever still waits waits for nothing; the main thread is the only reader until the next cell."""
        with self._lock:
            self._in_cell = False
            abandoned, self._pending = list(self._pending.values()), {}
        _abandon(abandoned)
        self._main_reads = self._reading.acquire(True, TAKE_OVER_S)

    def llm_query(self, prompt: Any, model: str | None = None) -> str:
        """Ask a language model once; returns its reply as text ("Error: ..." when the call failed)."""
        return self._ask("llm", [prompt], False, model)[0]

    def llm_query_batched(self, prompts: Any, model: str | None = None) -> list[str]:
        """Ask a language model about each prompt at the same time; returns the replies in order."""
        return self._ask("llm", prompts, True, model)

    def rlm_query(self, prompt: Any, model: str | None = None) -> str:
        """Have a recursive model with a REPL of its own work on the prompt; returns its answer as text."""
        return self._ask("rlm", [prompt], False, model)[0]

    def rlm_query_batched(self, prompts: Any, model: str | None = None) -> list[str]:
        """One recursive model for each prompt, at the same time; returns the answers in order."""
        return self._ask("rlm", prompts, True, model)

    def _ask(self, kind: str, prompts: Any, batch: bool, model: str | None) -> list[str]:
        if os.getpid() != self._pid:
            return ["Error: sub-calls are only possible in the process of the cell, not in a forked one"]
        texts = [_prompt_text(prompt) for prompt in ([prompts] if isinstance(prompts, str) else prompts)]
        if not texts:
            return []
        message: dict[str, Any] = {
            "t": "call",
            "kind": kind,
            "batch": batch,
            "blocking": _thread.get_ident() == self.main_thread,
            "prompts": self._spool.payloads(texts),
        }
        if model is not None:
            message["model"] = clean(str(model))
        pending = _Pending(len(texts))
        number = self._send(message, pending)
        if not number:
            return self._ask_late(pending)
        try:
            self._wait(pending)
        finally:
            if self._pending.get(number) is pending:
                del self._pending[number]
        return pending.results

    def _send(self, message: dict[str, Any], pending: _Pending) -> int:
        """The call's number in the cell; 0 when no cell is running."""
        with self._lock:  # numbered and sent as one: the supervisor wants the numbers in order
            if not self._in_cell:
                self._late.append(pending)
                return 0
            number = self._count + 1
            message["n"] = number
            self._pending[number] = pending
            self._control.send(message)
            self._count = number
            return number

    def _ask_late(self, pending: _Pending) -> list[str]:
        """No cell is running, so nothing is asked. A thread is held until one is; the main one is defining a tool."""
        if _thread.get_ident() == self.main_thread:
            return ["Error: sub-calls are only possible in a cell"] * len(pending.results)
        pending.wake.acquire()
        return pending.results

    def _wait(self, pending: _Pending) -> None:
        while pending.left > 0:
            if self._reading.acquire(False):
                try:
                    while pending.left > 0:
                        self._read_answers()
                finally:
                    self._reading.release()
                    self._hand_on()
            else:
                pending.wake.acquire()  # answered, or the reader left and it is our turn

    def _hand_on(self) -> None:
        for other in list(self._pending.values()):
            if other.left > 0:
                other.wake_up()
                return

    def _read_answers(self) -> None:
        control = self._control
        if not control.wait_readable(POLL_MS):
            return
        control.busy = True
        try:
            control.receive()
            while True:
                line = control.lines.next_line()
                if line is None:
                    break
                self._deliver(decode(line))
        finally:
            control.busy = False

    def _deliver(self, message: dict[str, Any]) -> None:
        pending = self._pending.get(message.get("n", 0))
        if message.get("t") != "answer" or pending is None:
            return
        if message.get("error") is not None:
            text = f"Error: {message['error']}"
        else:
            try:
                text = read_payload(self._workspace, message["payload"])
            except OSError as error:
                text = f"Error: the answer could not be read: {error}"
        pending.results[message["i"]] = text
        pending.left -= 1
        if pending.left <= 0:
            pending.wake_up()


def _abandon(calls: list[_Pending]) -> None:
    for pending in calls:
        pending.results = [ENDED] * len(pending.results)
        pending.left = 0
        pending.wake_up()


def _prompt_text(prompt: Any) -> str:
    """A prompt as text: messages and other JSON values as JSON, as `rlms` sends them."""
    if isinstance(prompt, str):
        return clean(prompt)
    if isinstance(prompt, (list, dict, tuple)):
        import json

        try:
            return clean(json.dumps(prompt, ensure_ascii=False))
        except (TypeError, ValueError):
            pass
    return clean(str(prompt))
