"""3. The line to the runner: long and many lines, sub-calls, breaks, other hosts."""

from __future__ import annotations

import pytest

from sandboxes import aio
from sandboxes.contract import Sandbox
from sandboxes.frames import Finished, SnapshotTaken
from sandboxes.side import SideLink
from tests.sandboxes.conformance.kit import TIMEOUT_S, Host
from tests.wire.rig import Rig


def test_cells_keep_their_state(host: Host) -> None:
    host.run("x = 41")
    assert host.run("print(x + 1)") == "42\n"


def test_a_long_line_passes_both_ways(host: Host) -> None:
    text = "ä" * 200_000
    assert host.run(f"t = {text!r}\nprint(len(t), t[:2], t[-2:])") == "200000 ää ää\n"
    assert host.run("print(t)") == text + "\n"


def test_many_lines_stay_in_order(host: Host) -> None:
    printed = host.run("for i in range(10_000): print(i)")
    assert printed == "".join(f"{number}\n" for number in range(10_000))


def test_code_asks_the_host_while_it_runs(host: Host) -> None:
    assert host.run("print(llm_query('what?'))", {"what?": "that"}) == "that\n"
    replies = {f"q{number}": f"r{number}" for number in range(20)}
    printed = host.run("print(llm_query_batched([f'q{i}' for i in range(20)]))", replies)
    assert printed == f"{list(replies.values())}\n"


def test_prints_cannot_forge_a_frame(host: Host) -> None:
    forged = '{"type":"finished","seq":99,"cell":"x","status":"ok"}'
    code = f"import os\nprint({forged!r}, flush=True)\nos.write(1, {forged.encode()!r} + b'\\n')"
    assert host.run(code) == f"{forged}\n{forged}\n"


@pytest.mark.needs("wire")
def test_a_broken_stream_loses_and_repeats_nothing(rig: Rig, host: Host) -> None:
    assert rig.engine is not None
    host.run("x = 0")
    id = host.start("import time\nfor i in range(30):\n    print(i); time.sleep(0.02)\nx += 1")
    for box in rig.engine.alive():
        for process in list(box.processes.values()):
            process.kill()
    if rig.faults is not None:
        rig.faults.drop_streams()
    assert host.finish(id) == "".join(f"{number}\n" for number in range(30))
    assert host.run("print(x)") == "1\n"


def test_another_host_takes_over_and_the_first_is_told(sandbox: Sandbox, host: Host) -> None:
    host.run("x = 41")
    second = Host(sandbox)
    assert second.state.setup == "setup"
    assert second.run("print(x + 1)") == "42\n"
    second.close()


def test_a_runner_that_dies_is_seen(host: Host) -> None:
    host.start("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    done = host.wait(Finished)
    assert done.status == "killed"
    assert host.run("print(1)") == "1\n"


@pytest.mark.needs("wire")
def test_input_that_a_vendor_repeats_is_taken_once(rig: Rig, sandbox: Sandbox, host: Host) -> None:
    if rig.faults is None:
        pytest.skip("no wire that repeats")
    host.run("x = 0")
    rig.faults.replay_stdin = True
    try:
        assert host.run("x += 1\nprint(x)") == "1\n"
        again = Host(sandbox)  # and what opens the line is given twice, too
        assert again.run("x += 1\nprint(x)") == "2\n"
        again.close()
    finally:
        rig.faults.replay_stdin = False


@pytest.mark.needs("live_snapshot")
def test_side_clients_evaluate_in_live_snapshots(sandbox: Sandbox, host: Host) -> None:
    host.run("x = [1, 2]")
    host.link.snapshot("s1")
    assert host.wait(SnapshotTaken).live
    side = SideLink(sandbox)
    said = side.evaluate("s1", "sum(x)")
    assert said.value is not None
    assert said.value.text == "3"
    side.close()


def test_the_channel_is_let_go_of_and_found_again(sandbox: Sandbox, host: Host) -> None:
    host.run("x = 7")
    host.close()
    again = Host(sandbox)
    assert again.run("print(x)") == "7\n"
    again.close()
    assert aio.run(sandbox.info(), timeout_s=TIMEOUT_S).ref == sandbox.ref
