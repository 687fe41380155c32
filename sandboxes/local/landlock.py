"""The Landlock tier: no namespaces at all, for machines that do not let users make them.

The code shares the host's process numbers and file names but may open only what the rules name, talk to nobody, and
signal nothing but itself. Weaker than bubblewrap: it can still see that files exist (`stat` is not covered).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from sandboxes.errors import ProviderUnavailable
from sandboxes.local import confine, seccomp
from sandboxes.local.interpreter import Interpreter, compile_runner
from sandboxes.local.spec import BASE_ENV, BoxSpec
from sandboxes.local.tiers import Launched, Setting, make_folder
from sandboxes.runner import bundle

MIN_VERSION = 3
"""Before it (Linux 6.2) files could be cut short by name, wherever they are."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")

Rule = tuple[str, str]


class Landlock:
    name = "landlock"
    isolation = "container"
    kill_at_once = False
    owner = -1

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._launcher = setting.folder / "landlock.pyc"
        self._config = setting.folder / "landlock.json"
        if not self.why_not():
            compile_runner(setting.interpreter, launcher_source(), self._launcher)
            self._config.write_text(json.dumps(_config(setting.interpreter)))

    def why_not(self) -> str:
        version = confine.landlock_version()
        if version == 0:
            return "the kernel has no Landlock (Linux 6.2 or later with `landlock` among its security modules)"
        if version < MIN_VERSION:
            return f"the kernel's Landlock is version {version}; {MIN_VERSION} (Linux 6.2) is needed"
        return seccomp.why_not()

    def launch(self, spec: BoxSpec, box_folder: Path, channel: int) -> Launched:
        work, incoming = make_folder(box_folder / "work"), make_folder(box_folder / "in")
        make_folder(work / ".tmp")
        make_folder(work / ".rlm")
        (work / ".rlm" / "in").symlink_to("../../in")
        folders = {"in": str(incoming), "work": str(work)}
        command = [
            *(self._setting.interpreter.executable, "-s", "-S", "-B", str(self._launcher)),
            *(str(self._config), json.dumps(_own_rules(folders)), "--workspace", str(work)),
            *("--memory-mb", str(spec.memory_mb), "--disk-mb", str(spec.disk_mb)),
            *("--site", str(int(self._setting.interpreter.use_site)), "--relay", "1"),
        ]
        try:
            process = subprocess.Popen(
                command,
                stdin=channel,
                stdout=channel,
                stderr=subprocess.DEVNULL,
                env={**BASE_ENV, "HOME": str(work), "TMPDIR": str(work / ".tmp"), **spec.env},
                cwd=work,
            )
        except OSError as error:
            raise ProviderUnavailable(f"the interpreter does not start: {error}") from error
        return Launched(process, -1, process.pid, folders)

    def entry(self, launched: Launched) -> dict[str, Any]:
        work = launched.folders["work"]
        return {"config": str(self._config), "own_rules": _own_rules(launched.folders), "workspace": work}

    def runner_pid(self, launched: Launched) -> int:
        return launched.process.pid

    def open_workspace(self, launched: Launched) -> int:
        return os.open(launched.folders["work"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _own_rules(folders: dict[str, str]) -> list[Rule]:
    return [(folders["work"], "work"), (folders["in"], "look")]


def launcher_source() -> str:
    """The confinement, the runner, and the call that joins them, as one file."""
    text = Path(confine.__file__).read_text().replace("from __future__ import annotations\n", "", 1)
    return f"{bundle.source(entry=False)}\n{text}\nlaunch(main, parse)\n"


def _config(interpreter: Interpreter) -> dict[str, object]:
    rules: list[Rule] = []
    for folder in interpreter.folders:
        rules += _visible(folder, interpreter.hidden)
    rules += [(path, "run") for path in ("/lib", "/lib64", "/bin") if os.path.isdir(path) and not os.path.islink(path)]
    rules += [(path, "look") for path in SYSTEM_FILES]
    rules += [(path, "device") for path in DEVICES]
    return {
        "rules": rules,
        "filter": seccomp.landlock_filter().hex(),
        "repl_filter": seccomp.repl_filter().hex(),
    }


def _visible(folder: str, hidden: tuple[str, ...]) -> list[Rule]:
    """Rules for `folder` without what is `hidden` below it. Names in there can be listed, contents cannot be read."""
    if folder in hidden:
        return []
    if not any(path.startswith(folder + "/") for path in hidden):
        return [(folder, "run")]
    rules: list[Rule] = [(folder, "list")]
    for entry in sorted(os.listdir(folder)):
        rules += _visible(os.path.join(folder, entry), hidden)
    return rules
