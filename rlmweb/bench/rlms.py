"""The reference library `rlms` beside us: the same script, its own logger, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from runs.bench.suite import CannotMeasure

VERSION = "0.1.3"
_PROGRAM = '''
import json, sys, time
from rlm import RLM
from rlm.logger import RLMLogger
import rlm.core.rlm as core

steps, folder = int(sys.argv[1]), sys.argv[2]
starts = []


class Scripted:
    """Answers at once, as our scripted model does."""

    def __init__(self):
        self.model_name, self.turn = "scripted", 0

    def completion(self, prompt, *args, **kwargs):
        starts.append(time.perf_counter())
        self.turn += 1
        if self.turn == 1:
            return "```repl\\ntotal = 1\\nprint(total)\\n```"
        if self.turn >= steps:
            return "```repl\\ntotal += 1\\nanswer['content'] = str(total)\\nanswer['ready'] = True\\n```"
        return "```repl\\ntotal += 1\\nprint(total)\\n```"

    async def acompletion(self, prompt, *args, **kwargs):
        return self.completion(prompt)

    def get_usage_summary(self):
        from rlm.core.types import UsageSummary
        return UsageSummary(model_usage_summaries={})

    def get_last_usage(self):
        from rlm.core.types import ModelUsageSummary
        return ModelUsageSummary(total_calls=1, total_input_tokens=0, total_output_tokens=0)


client = Scripted()
core.get_client = lambda *args, **kwargs: client
runner = RLM(backend="openai", backend_kwargs={"model_name": "scripted"}, environment="local",
             max_iterations=steps + 5, logger=RLMLogger(log_dir=folder), verbose=False)
runner.completion("one\\ntwo\\nthree\\n" * 1000, root_prompt="?")
print(json.dumps([(b - a) * 1000 for a, b in zip(starts, starts[1:])]))
'''


def rlms_step_ms(steps: int) -> list[float]:
    """Milliseconds from one model call to the next. Raises `CannotMeasure` when the library cannot be had."""
    with tempfile.TemporaryDirectory(prefix="rlmweb-rlms-") as folder:
        python = _environment(Path(folder))
        program = Path(folder) / "program.py"
        program.write_text(_PROGRAM)
        command = [str(python), str(program), str(steps), folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise CannotMeasure(f"rlms {VERSION} failed: {done.stderr.strip().splitlines()[-1:]}")
    durations_ms: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return durations_ms


def _environment(folder: Path) -> Path:
    """A virtual environment with `rlms`: its package is called `rlm`, as those of other libraries are."""
    python = folder / "venv" / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"rlms=={VERSION}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise CannotMeasure(f"rlms {VERSION} could not be installed: {done.stderr.strip().splitlines()[-1:]}")
    return python
