"""Lines for a POSIX shell in the sandbox, for vendors whose processes pass bytes as they are."""

RUN_MARK = "RLM_RUN"
IN_FOLDER = '[ -d "$1" ] || mkdir -p "$1"; cd "$2" && shift 2 && exec "$@"'
KILL_MARKED = (
    'for n in 1 2 3; do for f in $(grep -lsF "$1" /proc/[0-9]*/environ); do '
    'p=${f#/proc/}; kill -9 "${p%/environ}"; done; done 2>/dev/null'
)
"""What a command started keeps its variables, whatever session it made for itself. Again, for what forked meanwhile."""
FORGET_RUNNER = (
    'p=.rlm/; for f in $(grep -lsF "${p}line/" /proc/[0-9]*/cmdline); do '
    'q=${f#/proc/}; kill -9 "${q%/cmdline}"; done 2>/dev/null; rm -f .rlm/line/socket'
)
"""A copy of a whole machine has a running copy of its runner. Who asked for files gets files: it is ended."""
