"""In the sandbox: commands and files for vendors whose own ways lose bytes, mix streams or leave processes behind."""

from __future__ import annotations

import binascii
import contextlib
import json
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COPY_BYTES = 65536


def answered(words: list[str]) -> bool:
    """Carry out `exec`, `read` or `append`; False for what is not about a command or a file."""
    if words[0] == "exec":
        sys.stdout.write(json.dumps(execute(json.loads(binascii.a2b_base64(words[1])))) + "\n")
    elif words[0] in ("read", "append"):
        serve_file(words)
    else:
        return False
    return True


def execute(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command to its end or its deadline, with everything that it started: for vendors that mix both streams, take
    text for bytes, or leave processes behind at a time-out."""
    import subprocess
    import threading

    limit = int(request["max_output_bytes"])
    environment = {**os.environ, **request["env"]}
    process = subprocess.Popen(
        request["argv"],
        cwd=request["cwd"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    kept: list[list[Any]] = [[bytearray(), False], [bytearray(), False]]

    def read(stream: Any, into: list[Any]) -> None:
        while True:
            data = stream.read1(COPY_BYTES)
            if not data:
                return
            room = limit - len(into[0])
            into[0] += data[:room]
            into[1] = into[1] or len(data) > room

    threads = [
        threading.Thread(target=read, args=pair, daemon=True)
        for pair in zip((process.stdout, process.stderr), kept)  # noqa: B905  # Python 3.9
    ]
    for thread in threads:
        thread.start()
    timed_out = False
    try:
        code = process.wait(float(request["timeout_s"]))
    except subprocess.TimeoutExpired:
        timed_out, code = True, 137
        _kill_session(process.pid)
        process.wait()
    for thread in threads:
        thread.join(1.0)  # what it left in the background may hold its output open
    (stdout, cut_stdout), (stderr, cut_stderr) = kept
    return {
        "exit_code": 128 - code if code < 0 else code,
        "stdout": binascii.b2a_base64(stdout, newline=False).decode(),
        "stderr": binascii.b2a_base64(stderr, newline=False).decode(),
        "truncated": cut_stdout or cut_stderr,
        "timed_out": timed_out,
    }


def _kill_session(session: int) -> None:
    """Every process of the session, whatever its group."""
    with contextlib.suppress(OSError):
        os.killpg(session, signal.SIGKILL)
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.getsid(int(name)) == session:
                os.kill(int(name), signal.SIGKILL)


def serve_file(words: list[str]) -> None:
    """`read PATH OFFSET LENGTH`: a line with the size of the file, or -1, and one of base64. `append PATH BASE64 WHERE`:
    write the `first`, `next`, `last` or `only` piece; the file is there, whole, with its last one."""
    if words[0] == "read":
        path, offset, length = words[1], int(words[2]), int(words[3])
        if not os.path.isfile(path):
            sys.stdout.write("-1\n\n")
            return
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(length)
        sys.stdout.write(f"{os.path.getsize(path)}\n")
        sys.stdout.write(binascii.b2a_base64(data).decode())
        return
    path, text, where = words[1:4]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.part", "wb" if where in ("first", "only") else "ab") as file:
        file.write(binascii.a2b_base64(text))
    if where in ("last", "only"):
        os.replace(f"{path}.part", path)
