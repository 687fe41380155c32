"""The REPL child: runs cells one after the other and reports each to the supervisor."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import os
import sys

from sandboxes.runner.namespace import Names
from sandboxes.runner.protect import die_with_parent, show_process
from sandboxes.runner.queries import Control, Queries
from sandboxes.runner.streams import Reserve, Streams
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
MIB = 1024 * 1024
PRELOADED = ("re", "json", "traceback", "linecache", "threading", "collections", "math", "random", "datetime")
"""Imported while nothing is asked, so that code and tracebacks find them loaded."""


class Repl:
    def __init__(self, control: int, options: Options) -> None:
        self.control = Control(control)
        self.options = options
        self.pid = os.getpid()
        self.streams = Streams()
        self.queries = Queries(self.control, options.workspace)
        self.names = Names(self.queries, options.workspace)
        self.spool = Spool(options.workspace, "v")
        self.interruptible = False
        self.interrupted = False
        self.sources: dict[str, str] = {}

    def serve(self) -> None:
        _signal.signal(_signal.SIGINT, self._on_interrupt)
        self._preload()
        reserve = Reserve(self.streams.null)
        while True:
            message = self.control.next_message()
            fresh = self.control.take_descriptors()
            if len(fresh) != (2 if message.get("fresh") else 0):
                os._exit(NO_DESCRIPTORS)
            self.streams.renew(fresh)
            reserve.hold()
            if message["t"] == "setup":
                self.control.send(self._setup(message))
            elif message["t"] == "exec":
                self.control.send(self._cell(message))
            reserve.release()

    def _preload(self) -> None:
        for name in PRELOADED:
            if self.control.wait_readable(0):
                return
            __import__(name)

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
            for prefix, files in (("context", "contexts"), ("history", "history")):
                for index, file in enumerate(message.get(files, [])):
                    self.names.load(f"{prefix}_{index}", file["path"], file.get("kind", "text"), notes)
            for tool in message.get("tools", []):
                self.names.define_tool(tool, self._run)
        except BaseException as error:
            reply["error"] = self._error(error)
        self.streams.flush()
        reply["notes"] = notes
        reply["variables"] = self.names.describe()
        return reply

    # Cells ------------------------------------------------------------------------------------------------------

    def _cell(self, message: dict[str, Any]) -> dict[str, Any]:
        self.streams.begin()
        self.queries.begin_cell()
        self.interrupted = False
        _signal.signal(_signal.SIGINT, self._on_interrupt)
        report: dict[str, Any] = {"t": "done"}
        try:
            self.interruptible = True
            try:
                self._run(read_payload(self.options.workspace, message["code"]), f"<cell {message['n']}>")
            except BaseException as error:
                self._after_code()
                report["error"] = self._error(error)
            self._after_code()
            self._outcome(report)
            self.interruptible = False
        except BaseException as error:
            # Only code of the cell gets here: a `__str__` that raised, or an interrupt while it ran.
            self.interruptible = False
            report["error"] = {"type": type(error).__name__, "message": "raised while the result was taken"}
        self.queries.end_cell()
        report["interrupted"] = self.interrupted
        report["variables"] = self.names.describe()
        report["threads"] = len(sys._current_frames()) - 1
        self.names.restore_scaffold()
        self.streams.flush()
        return report

    def _run(self, code: str, name: str) -> None:
        self.sources[name] = code
        self._show_sources()
        exec(compile(code, name, "exec", dont_inherit=True), self.names.values)

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
            "type": clean(type(error).__name__),
            "message": clip(clean(message), MAX_MESSAGE_CHARS),
            "traceback": clip(clean(_traceback(error)), SENT_TRACEBACK_CHARS),
        }


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
    """Limits that the code cannot raise again. Memory is counted as data, not as address space: mapping a large
    context does not use it up. The sandbox's own limits stand behind these."""
    import resource

    def lower(which: int, value: int) -> None:
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, 1024)
    if options.memory_mb:
        lower(resource.RLIMIT_DATA, options.memory_mb * MIB)
        lower(resource.RLIMIT_AS, (2 * options.memory_mb + 2048) * MIB)
    if options.disk_mb:
        lower(resource.RLIMIT_FSIZE, options.disk_mb * MIB)
    if options.processes:
        lower(resource.RLIMIT_NPROC, options.processes)


def _die_first() -> None:
    """When memory runs out the kernel takes this process, not the supervisor."""
    try:
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("1000")
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
