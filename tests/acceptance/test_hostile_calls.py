"""Code that misuses sub-calls and answers: from threads, without end, without waiting, with what is no text."""

from __future__ import annotations

import pytest

from tests.acceptance.visitor import Plain, Visitor, cell, scripted, turn

GO_ON = "answer['content'] = 'went on'; answer['ready'] = True"
LEAF = {"when": {"kind": "leaf"}, "reply": "leaf {index}", "latency_ms": 20}
CHILD = {
    "when": {"kind": "turn", "min_depth": 1},
    "reply": cell("answer['content'] = context; answer['ready'] = True"),
}
DEEP_JSON = '\'[{"role":"user","content":"x","z":\' + \'[\'*100_000 + \']\'*100_000 + \'}]\''
ODD_TEXT = "type('A', (), {'__str__': lambda self: chr(0) + chr(0xD800)})()"

# The cell, and what its output must hold.
CALLS = {
    "in threads that nobody waits for": (
        "import threading\nfor n in range(30): threading.Thread(target=llm_query, args=(f'{n}',)).start()\nprint('left')",
        "left",
    ),
    "in a pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: print(sorted(pool.map(llm_query, 'abcdefgh')))",
        "'leaf 0', 'leaf 0'",
    ),
    "recursive, in a pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: print(list(pool.map(rlm_query, 'abcdefgh')))",
        "['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']",
    ),
    "with nothing": ("print(llm_query_batched([]), rlm_query_batched([]), [llm_query('')])", "[] [] ['leaf 0']"),
    "with what is no text": (
        "print(llm_query_batched([None, 5, b'x', {'a': 1}, object, [1]]))",
        "'leaf 4', 'leaf 5'",
    ),
    "with characters that cannot be stored": (
        "print(llm_query_batched([chr(0), chr(0xD800), [{'role': 'user', 'content': chr(0) + chr(0xDFFF)}]]))",
        "'leaf 0', 'leaf 1', 'leaf 2'",
    ),
    "recursive, with characters that cannot be stored": (
        "print(len(rlm_query(chr(0) + chr(0xD800) + chr(27))), len(rlm_query(b'bytes')))",
        "3 8",
    ),
    "with JSON that is too deep": (f"print(llm_query({DEEP_JSON}))", "leaf 0"),
    "with a model that there is not": ("print(llm_query('x', model='gpt-9'))", "has no model 'gpt-9'"),
    "with the name of a model that is none": ("print(llm_query('x', model='m' * 10**6))", ""),
    "with a prompt of 10 MB": (
        "print(llm_query('x' * 10_000_000), len(rlm_query('y' * 10_000_000)))",
        "leaf 0 10000000",
    ),
    "in an exit handler": ("import atexit, os\natexit.register(lambda: llm_query('late'))\nos._exit(0)", ""),
    "while it is interrupted": ("import signal\nsignal.raise_signal(signal.SIGINT)\nprint(llm_query('x'))", ""),
}
# Code, and the answer that it gives; None: whatever it gives is fine.
ANSWERS = {
    "bytes": ("answer['content'] = b'x\\xff'", "b'x\\xff'"),
    "a number": ("answer['content'] = 4.5", "4.5"),
    "nothing, which is no answer": ("answer['content'] = None", "went on"),
    "a dict": ("answer['content'] = {'a': [1, 2]}", "{'a': [1, 2]}"),
    "itself": ("answer['content'] = answer", None),
    "an object with an odd text": (f"answer['content'] = {ODD_TEXT}", "\u2400?"),
    "odd characters": ("answer['content'] = 'a' + chr(0) + chr(0xDC00) + chr(27) + '[2J'", "a\u2400?\x1b[2J"),
    "10 MB": ("answer['content'] = 'x' * 10_000_000", "x" * 10_000),
    "a subclass of str": ("answer['content'] = type('S', (str,), {'__str__': lambda self: 5})('sub')", None),
    "before a ready that is no bool": ("answer['content'] = 'yes'; answer['ready'] = [1]", "yes"),
}
THREADS = """
import threading
while True:
    try:
        threading.Thread(target=llm_query, args=("x",)).start()
    except RuntimeError:
        pass
"""
ENDLESS = {
    "one after another": "while True: llm_query('x')",
    "in batches": "while True: llm_query_batched(['x'] * 500)",
    "in threads": THREADS,
    "recursive": "while True: rlm_query('x')",
    "in a batch of ten thousand": "rlm_query_batched(['x'] * 10_000)",
}


def forged(message: Plain) -> str:
    """Code that says `message` to its supervisor in the name of the REPL."""
    return f"""
import gc, time
control = next(thing for thing in gc.get_objects() if type(thing).__name__ == "Control")
control.send({message!r})
time.sleep(5)
"""


def ready(code: str) -> str:
    return code if "ready" in code else f"{code}; answer['ready'] = True"


def test_sub_calls_of_any_kind_end_in_an_answer_or_an_error(client: Visitor) -> None:
    started = {
        name: client.begin(scripted(CHILD, LEAF, turn(1, code), turn(2, GO_ON)), cell_timeout_s=10, max_depth=2)
        for name, (code, _) in CALLS.items()
    }
    for name, uuid in started.items():
        session = client.ended(uuid)
        assert (name, session["status"], session["answer"]) == (name, "finished", "went on")
        assert CALLS[name][1] in client.output(uuid), name
    client.goes_on()


def test_answers_that_are_no_text_are_given_as_text_or_refused(client: Visitor) -> None:
    started = {
        name: client.begin(scripted(turn(1, ready(code)), turn(2, GO_ON)), max_consecutive_errors=3)
        for name, (code, _) in ANSWERS.items()
    }
    for name, uuid in started.items():
        session, wanted = client.ended(uuid), ANSWERS[name][1]
        assert (name, session["status"]) == (name, "finished")
        if wanted is not None:
            assert session["answer"] == wanted, name


def test_a_cell_that_runs_behind_a_sub_call_that_hangs_is_ended_by_the_wall_clock(client: Visitor) -> None:
    # While a sub-call is out the cell's own clock stands still, so only a limit of the session can end this one.
    code = "import threading\nthreading.Thread(target=llm_query, args=('x',)).start()\nwhile True: pass"
    hanging = {"when": {"kind": "leaf"}, "reply": "late", "latency_ms": 600_000}
    uuid = client.begin(scripted(hanging, turn(None, code)), cell_timeout_s=1, max_wall_s=4)
    session = client.ended(uuid)
    assert (session["status"], session["error_type"]) == ("limited", "LimitReached")
    assert "max_wall_s" in session["error_message"]
    client.goes_on()


def test_calls_without_end_are_ended_by_the_limit_of_calls(client: Visitor) -> None:
    limits: Plain = {"max_lm_calls": 40, "max_nodes": 20, "max_depth": 3, "cell_timeout_s": 5, "max_wall_s": 60}
    started = {name: client.begin(scripted(CHILD, LEAF, turn(None, code)), **limits) for name, code in ENDLESS.items()}
    for name, uuid in started.items():
        session = client.ended(uuid)
        assert (name, session["status"]) == (name, "limited")
        assert session["usage"]["lm_calls"] <= 40
        assert session["usage"]["nodes"] <= 20
    client.goes_on()


def test_a_recursion_bomb_stops_at_the_limit_of_nodes_and_leaves_no_sandbox(client: Visitor) -> None:
    uuid = client.begin(
        scripted(turn(None, "print(rlm_query_batched(['again'] * 10))")), max_depth=10, max_nodes=100, max_lm_calls=1000
    )
    session = client.ended(uuid, 120)
    assert session["status"] == "limited"
    assert client.count(uuid, "node.started") <= 100
    assert client.count(uuid, "limit.hit") >= 1
    client.wait_for_no_sandbox(uuid)
    client.goes_on()


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd", ".rlm/out/../../../etc/passwd", ".rlm/out/link"])
def test_a_forged_payload_reads_nothing_of_the_host(client: Visitor, file: str) -> None:
    link = "import os; os.makedirs('.rlm/out', exist_ok=True); os.symlink('/etc/passwd', '.rlm/out/link')\n"
    done = {"t": "done", "final": {"file": file, "size_bytes": 100}, "variables": []}
    uuid = client.begin(scripted(turn(1, link + forged(done)), turn(2, GO_ON)), cell_timeout_s=5)
    session = client.ended(uuid)
    assert session["status"] == "finished"
    assert "root:" not in session["answer"]
    # It was taken as the cell's answer, which could not be read, or the process that said it was ended.
    assert "could not be taken" in session["answer"] or "broke its protocol" in str(client.events(uuid))
    client.goes_on()


def test_prompts_that_name_one_large_file_do_not_fill_the_worker(client: Visitor) -> None:
    # Ten thousand claims of a few bytes each, which would be 600 GB of text.
    large = (
        "import os\nos.makedirs('.rlm/out', exist_ok=True)\n"
        "with open('.rlm/out/big', 'wb') as file: file.write(b'x' * 60_000_000)\n"
    )
    call = {"t": "call", "n": 1, "kind": "llm", "batch": True, "blocking": True}
    call["prompts"] = [{"file": ".rlm/out/big", "size_bytes": 1}] * 10_000
    before_mb = client.forget_peaks("worker-0")["worker-0"]
    uuid = client.begin(scripted(LEAF, turn(1, large + forged(call)), turn(2, GO_ON)), cell_timeout_s=5)
    session = client.ended(uuid)
    assert (session["status"], session["error_type"]) == ("limited", "LimitReached")
    assert client.peak_mb("worker-0") < before_mb + 900
    client.goes_on()
