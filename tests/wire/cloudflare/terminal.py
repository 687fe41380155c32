"""In the box: a shell in a real terminal, between two pipes. Two ways of their own, so that neither waits for the other."""

import os
import pty
import sys
import threading

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def feed() -> None:
    while data := os.read(0, 65536):
        write_all(terminal, data)


threading.Thread(target=feed, daemon=True).start()
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:  # how Linux says that the last process has let go of the terminal
        break
    if not data:
        break
    write_all(1, data)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
