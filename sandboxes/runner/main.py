"""Entry of the runner: say that it is up, then serve."""

from __future__ import annotations

import fcntl
import os
import sys

from sandboxes.runner.framelog import FrameLog
from sandboxes.runner.options import Options, UsageError, parse
from sandboxes.runner.process import HIGH_DESCRIPTOR
from sandboxes.runner.protect import adopt_orphans, hide_process
from sandboxes.runner.supervisor import Supervisor
from sandboxes.runner.wire import PROTOCOL_VERSION


def main(options: Options) -> None:
    """Serve the host on standard input and output; both become the null device for everything that follows."""
    host_in = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
    host_out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    hide_process()
    adopt_orphans()
    log = FrameLog()
    log.add({"type": "ready", "v": PROTOCOL_VERSION, "python": sys.version.split()[0], "pid": os.getpid()})
    os.makedirs(os.path.join(options.workspace, ".rlm", "out"), exist_ok=True)
    Supervisor(options, host_in, host_out, log).run()


def start() -> None:
    try:
        options = parse(sys.argv[1:])
    except UsageError as error:
        sys.stderr.write(f"runner: {error}\n")
        sys.exit(2)
    main(options)


if __name__ == "__main__":
    start()
