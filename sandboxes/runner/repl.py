"""The REPL child: runs cells one after the other and reports each to the supervisor."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import os
import sys

from sandboxes.runner.byvalue import NotHeld, cloud, install_loaders
from sandboxes.runner.lazy import Lazy
from sandboxes.runner.memory import MIB, MemoryLimit
from sandboxes.runner.namespace import Names, class_name
from sandboxes.runner.parked import DESCRIPTORS_OF_CODE, Taker
from sandboxes.runner.protect import die_with_parent, show_process
from sandboxes.runner.queries import Control, Queries
from sandboxes.runner.repeatable import set_clock, set_seed
from sandboxes.runner.runcode import Compiled, NoValue, shown
from sandboxes.runner.streams import Reserve, Streams
from sandboxes.runner.surroundings import Surroundings
from sandboxes.runner.tracking import Tracker
from sandboxes.runner.wire import Spool, clean, clip, read_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sandboxes.runner.options import Options

RECURSION_LIMIT = 1000
NO_DESCRIPTORS = 71
"""Exit status when new pipes could not be received."""
SENT_TRACEBACK_CHARS = 12_000
MAX_MESSAGE_CHARS = 2000
SHOWN_CHARS = 64 * 1024
COPIES = 108
"""Room for parked copies and what is forked from them, beyond the processes that code may have."""
PRELOADED = ("re", "json", "traceback", "linecache", "threading", "collections", "math", "random", "datetime")
"""Imported while nothing is asked, so that code and tracebacks find them loaded."""
FOR_SNAPSHOTS = ("resource", "fcntl", "hashlib", "pickle", "typing", "inspect", "uuid", "logging", "concurrent.futures")
"""Imported later, while nothing is asked: every process that is forked to write a snapshot down would import them."""


FOR_TABLES = ("numpy", "pandas")
"""Imported by a REPL that was left idle, where the operator's interpreter has them: code that uses tables, and restores of
states that hold some, find them loaded."""
IDLE_MS = 300


class Repl:
    def __init__(self, control: int, options: Options) -> None:
        self.control = Control(control)
        self.options = options
        self.pid = os.getpid()
        self.memory = MemoryLimit(options.memory_mb)
        self.streams = Streams()
        self.queries = Queries(self.control, options.workspace)
        self.names = Names(self.queries, options.workspace)
        self.spool = Spool(options.workspace, "v")
        self.loaders = install_loaders(self.names.values)
        self.tracker = Tracker(self.names.values, self.names.is_captured)
        self.surroundings = Surroundings(options.workspace, self.names.values)
        self.lazy = Lazy(self)
        self.taker = Taker(self)
        self.leaves: dict[str, Any] = {}
        """Contexts by the hash of their file: contents that the host has."""
        self.interruptible = False
        self.interrupted = False
        self.sources: dict[str, str] = {}
        self._to_load = [*PRELOADED, *FOR_SNAPSHOTS, ""]
        self._to_load_idle = list(FOR_TABLES) if options.site else []

    def serve(self) -> None:
        _signal.signal(_signal.SIGINT, self._on_interrupt)
        reserve = Reserve(self.streams.null)
        while True:
            self._preload()
            message = self.control.next_message()
            self._to_load_idle.clear()
            descriptors = self.control.take(int(message.get("fds", 0)))
            if len(descriptors) != message.get("fds", 0):
                os._exit(NO_DESCRIPTORS)
            kind = message["t"]
            self.taker.settle()
            if kind == "snapshot":
                self.control.send(self.taker.take(message, descriptors[0]))
                continue
            self.streams.renew(descriptors)
            reserve.hold()
            if kind == "setup":
                self.control.send(self._setup(message))
                if message.get("snapshots") is True:
                    self._load_rest()
            elif kind == "exec":
                self.control.send(self._cell(message))
            elif kind == "restore":
                self.control.send(self._restore(message))
            reserve.release()

    def _preload(self) -> None:
        """Use the time until something is asked. Once code has run, what an import finds is the code's to say."""
        while self._to_load and not self.control.has_message():
            self._load_next()
        while self._to_load_idle and not self.control.has_message(IDLE_MS):
            if not _import_table(self._to_load_idle.pop(0)):
                self._to_load_idle.clear()

    def _load_rest(self) -> None:
        """Before code runs: else every process that is forked to write a snapshot down would do it by itself."""
        while self._to_load:
            self._load_next()

    def _load_next(self) -> None:
        name = self._to_load.pop(0)
        _import_installed(name) if name else cloud()

    def _on_interrupt(self, number: int, frame: object) -> None:
        self.interrupted = True
        if self.interruptible and not self.control.busy:
            raise KeyboardInterrupt

    # Setup ------------------------------------------------------------------------------------------------------

    def _setup(self, message: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = {"t": "setup"}
        notes: list[str] = []
        self.streams.begin()
        try:
            self._make_repeatable(message)
            for prefix, files in (("context", "contexts"), ("history", "history")):
                for index, file in enumerate(message.get(files, [])):
                    self._load(f"{prefix}_{index}", file, notes)
            for tool in message.get("tools", []):
                self.names.define_tool(tool, self._run)
        except BaseException as error:
            reply["error"] = self._error(error)
        self.streams.flush()
        reply["notes"] = notes
        reply["variables"] = self.names.describe()
        return reply

    def _make_repeatable(self, message: dict[str, Any]) -> None:
        if message.get("clock") is None and message.get("seed") is None:
            return
        # Modules read the clock and draw when they are imported. That must not depend on how long this REPL was idle.
        self._load_rest()
        if self.options.site:
            all(map(_import_table, FOR_TABLES))
        if message.get("clock") is not None:
            set_clock(float(message["clock"]))
        if message.get("seed") is not None:
            set_seed(int(message["seed"]))

    def _load(self, name: str, file: dict[str, Any], notes: list[str]) -> None:
        known, kind = len(notes), file.get("kind", "text")
        self.names.load(name, file["path"], kind, notes)
        if file.get("sha256") and kind != "json" and len(notes) == known:
            self.leaves[file["sha256"]] = self.names.values[name]

    def _restore(self, message: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = {"t": "restored"}
        self.streams.begin()
        try:
            self.lazy.restore(message)
        except BaseException as error:
            reply["error"] = self._error(error)
        self.streams.flush()
        reply["variables"] = self.names.describe()
        return reply

    # Cells ------------------------------------------------------------------------------------------------------

    def _cell(self, message: dict[str, Any]) -> dict[str, Any]:
        self.streams.begin()
        self.queries.begin_cell()
        self.interrupted = False
        _signal.signal(_signal.SIGINT, self._on_interrupt)
        report: dict[str, Any] = {"t": "done"}
        value: Any = NoValue
        ran_out = False
        self.memory.begin_cell()
        try:
            self.interruptible = True
            try:
                code = read_payload(self.options.workspace, message["code"])
                value = self._run(code, f"<cell {message['n']}>", show=message.get("show") is True)
            except BaseException as error:
                self._after_code()
                ran_out = isinstance(error, MemoryError)
                self.memory.end_cell(ran_out=ran_out)
                report["error"] = self._error(error)
            self._after_code()
            self._outcome(report)
            if value is not NoValue:
                report["value"] = self.spool.payload(shown(value, SHOWN_CHARS))
            self.interruptible = False
        except BaseException as error:
            # Only code of the cell gets here: a `__str__` that raised, or an interrupt while it ran.
            self.interruptible = False
            report["error"] = {"type": class_name(type(error)), "message": "raised while the result was taken"}
        self.memory.end_cell(ran_out=ran_out)
        self.queries.end_cell()
        report["interrupted"] = self.interrupted
        report["variables"] = self.names.describe()
        report["threads"] = len(sys._current_frames()) - 1
        self.names.restore_scaffold()
        self.streams.flush()
        return report

    def scratch_cell(self, code: str, value_chars: int) -> dict[str, Any]:
        """Run `code` in a fork that is thrown away afterwards; the report of an evaluation."""
        self.streams.begin()
        report: dict[str, Any] = {"status": "ok"}
        try:
            value = self._run(code, "<cell>", show=True)
            if value is not NoValue:
                text = shown(value, value_chars)
                report["value"] = {"text": text, "size_bytes": len(text.encode())}
        except BaseException as error:
            report = {"status": "error", "error": self._error(error)}
        self.streams.flush()
        return report

    def needs_contents(self, code: str) -> bool:
        """Whether `code` may use variables of a restored snapshot that are not loaded."""
        try:
            return any(self.lazy.needed(part) for part in Compiled(code, "<cell>").parts())
        except (SyntaxError, ValueError):
            return False  # running it says what is wrong

    def _run(self, code: str, name: str, *, show: bool = False) -> Any:
        """Run a cell; the value of its last expression when it is to be shown, else `NoValue`."""
        self._to_load.clear()
        self.sources[name] = code
        self._show_sources()
        compiled = Compiled(code, name, show=show)
        for part in compiled.parts():
            self.lazy.load_for(part)
            self.tracker.note_cell(part)
        value = compiled.run(self.names.values)
        if type(value) is NotHeld:
            repr(value)  # which raises: it says why there is no value
        return value

    def _show_sources(self) -> None:
        """Let tracebacks find the lines of cells, once somebody has loaded what makes tracebacks."""
        linecache = sys.modules.get("linecache")
        if linecache is not None:
            for name, code in self.sources.items():
                linecache.cache[name] = (len(code), None, code.splitlines(True), name)
            self.sources.clear()

    def _after_code(self) -> None:
        if os.getpid() != self.pid:
            os._exit(0)  # code forked and the copy came to its end: there is one REPL
        sys.setrecursionlimit(RECURSION_LIMIT)
        sys.settrace(None)
        sys.setprofile(None)
        _signal.setitimer(_signal.ITIMER_REAL, 0)

    def _outcome(self, report: dict[str, Any]) -> None:
        final, partial = self.names.outcome()
        for name, value in (("final", final), ("partial", partial)):
            if value is not None:
                report[name] = self.spool.payload(clean(str(value)))

    def _error(self, error: BaseException) -> dict[str, str]:
        import linecache  # noqa: F401  # for the sources

        self._show_sources()
        try:
            message = str(error)
        except Exception:
            message = "<the exception's message could not be made>"
        return {
            "type": clean(class_name(type(error))),
            "message": clip(clean(message), MAX_MESSAGE_CHARS),
            "traceback": clip(clean(_traceback(error)), SENT_TRACEBACK_CHARS),
        }


def _import_installed(name: str) -> None:
    """Not from the workspace: an earlier REPL may have left files there."""
    workspace = sys.path.pop(0)
    try:
        __import__(name)
    finally:
        sys.path.insert(0, workspace)


def _import_table(name: str) -> bool:
    """False when it is not there, or does not work here: code that wants it is told why."""
    try:
        _import_installed(name)
    except Exception:
        return False
    return True


def _traceback(error: BaseException) -> str:
    """The traceback with the lines of cells and tools only: those are what the reader can change."""
    import traceback

    summary: traceback.TracebackException | None = traceback.TracebackException(
        type(error), error, error.__traceback__, limit=None, lookup_lines=True
    )
    shown = summary
    seen = set()
    while summary is not None and id(summary) not in seen:
        seen.add(id(summary))
        frames = [frame for frame in summary.stack if frame.filename.startswith(("<cell ", "<tool "))]
        summary.stack = traceback.StackSummary.from_list(frames)
        summary = summary.__cause__ or summary.__context__
    return "".join(shown.format()) if shown else ""


def _limit_resources(options: Options) -> None:
    """Limits that the code cannot raise again. The sandbox's own limits stand behind these."""
    import resource

    def lower(which: int, value: int) -> None:
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, DESCRIPTORS_OF_CODE)
    if options.memory_mb and not options.gpu:
        lower(resource.RLIMIT_AS, (2 * options.memory_mb + 2048) * MIB)
    if options.disk_mb:
        lower(resource.RLIMIT_FSIZE, options.disk_mb * MIB)
    if options.processes:
        lower(resource.RLIMIT_NPROC, options.processes + COPIES)


def _die_first() -> None:
    """When memory runs out the kernel takes this process, not the supervisor; and before it its parked copies."""
    try:
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("800")
    except OSError:
        pass  # no /proc in this sandbox


def run_repl(control: int, options: Options) -> None:
    """The main program of the REPL process."""
    die_with_parent()
    show_process()
    _die_first()
    options.confine_repl()
    _limit_resources(options)
    os.chdir(options.workspace)
    sys.argv = [""]
    sys.path[0] = options.workspace  # it was the folder of the runner
    if options.site:
        import site

        site.main()
    Repl(control, options).serve()
