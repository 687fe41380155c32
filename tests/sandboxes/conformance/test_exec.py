"""2. Commands: exit codes, both streams, bytes, deadlines, folders."""

from __future__ import annotations

from uuid import uuid4

import pytest

from sandboxes import aio
from sandboxes.contract import ExecResult, Sandbox
from sandboxes.errors import ExecTimeout
from tests.sandboxes.conformance.kit import TIMEOUT_S


def sh(sandbox: Sandbox, command: str, **options: object) -> ExecResult:
    arguments: dict[str, object] = {"timeout_s": 30.0, **options}
    return aio.run(sandbox.exec(["sh", "-c", command], **arguments), timeout_s=TIMEOUT_S)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [0, 3, 137])
def test_the_exit_code_is_a_result(sandbox: Sandbox, code: int) -> None:
    assert sh(sandbox, f"exit {code}").exit_code == code


def test_both_streams_are_told_apart(sandbox: Sandbox) -> None:
    done = sh(sandbox, "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_bytes_that_are_no_text_come_through(sandbox: Sandbox) -> None:
    done = sh(sandbox, r"printf '\377\376\000\001'")
    assert done.stdout == b"\xff\xfe\x00\x01"


def test_much_output_is_cut_and_says_so(sandbox: Sandbox) -> None:
    done = sh(sandbox, "head -c 5000000 /dev/zero | tr '\\0' x", max_output_bytes=100_000)
    assert done.truncated
    assert len(done.stdout) <= 100_000


def test_all_of_five_megabytes_can_be_had(sandbox: Sandbox) -> None:
    done = sh(sandbox, "head -c 5000000 /dev/zero | tr '\\0' x", max_output_bytes=6_000_000)
    assert (len(done.stdout), done.truncated) == (5_000_000, False)


def test_the_deadline_ends_the_whole_tree(sandbox: Sandbox) -> None:
    nap = f"sleep 61.{uuid4().int % 10**9:09d}"  # the processes of other test runs are seen, too
    with pytest.raises(ExecTimeout):
        sh(sandbox, f"{nap} & {nap}", timeout_s=1.0)
    lines = "for d in /proc/[0-9]*; do tr '\\0' ' ' < $d/cmdline; echo; done 2>/dev/null"
    assert sh(sandbox, f"{lines} | grep -c '^{nap}' || true").stdout.strip() == b"0"


def test_a_command_has_its_folder_and_its_variables(sandbox: Sandbox) -> None:
    aio.run(sandbox.write_file("sub/file", b"x"), timeout_s=TIMEOUT_S)
    assert sh(sandbox, "ls; printf $A", cwd="sub", env={"A": "b"}).stdout == b"file\nb"


def test_words_are_not_a_shell_line(sandbox: Sandbox) -> None:
    done = aio.run(sandbox.exec(["printf", "%s|", "a b", "$HOME", "'q'", "x;y"], timeout_s=30), timeout_s=TIMEOUT_S)
    assert done.stdout == b"a b|$HOME|'q'|x;y|"
