"""What comes back beside variables and files, and what is said of variables that do not."""

from __future__ import annotations

import io
import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from sandboxes.runner.surroundings import Surroundings
from tests.sandboxes.runner.host import RunnerHost, runner
from tests.sandboxes.runner.snapshothost import Store, evaluate


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def second(tmp_path: Path) -> Iterator[RunnerHost]:
    folder = tmp_path / "second"
    folder.mkdir()
    with runner(folder) as started:
        yield started


def brought_back(host: RunnerHost, store: Store, second: RunnerHost, code: str) -> None:
    done = store.run(host, code)
    assert done["status"] == "ok", done
    store.snapshot(host, "s1")
    assert "error" not in store.restore(second, "s1")


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("import os; os.mkdir('a'); os.mkdir('a/b'); os.chdir('a/b')", "import os; print(os.path.basename(os.getcwd()))"),
        ("import os; os.environ['MINE'] = 'x'; del os.environ['PATH']",
         "import os; print(os.environ['MINE'], os.environ.get('PATH'))"),
        ("import decimal; decimal.getcontext().prec = 5", "import decimal; print(decimal.Decimal(1) / 3)"),
        ("import warnings; warnings.simplefilter('error', UserWarning)",
         "import warnings\ntry: warnings.warn('w')\nexcept UserWarning as w: print('raised', w)"),
        ("import os, sys; os.mkdir('lib'); open('lib/own.py', 'w').write('V = 7')\nsys.path.append(os.getcwd() + '/lib')",
         "import own; print(own.V)"),
        ("import random; random.seed(5); random.random()", "import random; print(random.random())"),
    ],
    ids=["folder", "environment", "decimal", "warnings", "path", "random"],
)  # fmt: skip
def test_what_code_depends_on_beside_variables_comes_back(
    host: RunnerHost, store: Store, second: RunnerHost, code: str, shown: str
) -> None:
    brought_back(host, store, second, code)
    wanted = store.run(host, shown)
    assert wanted["status"] == "ok", wanted
    assert store.run(second, shown)["stdout"] == wanted["stdout"] != ""


def test_the_answer_so_far_comes_back_and_can_be_given(host: RunnerHost, store: Store, second: RunnerHost) -> None:
    brought_back(host, store, second, "answer['content'] = 'a draft'")
    assert store.run(second, "print(answer)")["stdout"] == "{'content': 'a draft', 'ready': False}\n"
    given = store.run(second, "answer['ready'] = True")
    assert given["final"]["text"] == "a draft"


def test_an_answer_that_is_no_plain_data_comes_back_as_its_text(
    host: RunnerHost, store: Store, second: RunnerHost
) -> None:
    brought_back(host, store, second, "class A:\n    def __str__(self): return 'its text'\nanswer['content'] = A()")
    assert store.run(second, "print(answer['content'] == 'its text')")["stdout"] == "True\n"


def test_a_variable_that_is_not_held_says_why_wherever_it_is_used(
    host: RunnerHost, store: Store, second: RunnerHost
) -> None:
    brought_back(host, store, second, "g = (i for i in [1, 2]); next(g); x = 1")
    for code in ("g", "print(g)", "next(g)", "FINAL(g)", "[*g]"):
        done = store.run(second, code, show=True)
        assert done["status"] == "error"
        assert "g (generator) could not be saved: a generator that has started" in done["error"]["message"]
    store.snapshot(second, "s2", live=True)
    result = evaluate(second, "s2", "g")
    assert "a generator that has started" in result["error"]["message"]
    assert store.run(second, "print(x)")["stdout"] == "1\n"


def test_what_cannot_be_loaded_again_says_so_and_the_rest_is_there(
    host: RunnerHost, store: Store, second: RunnerHost
) -> None:
    brought_back(
        host,
        store,
        second,
        "def load(): raise ValueError('not here')\nclass A:\n    def __reduce__(self): return load, ()\na = A(); x = [1]",
    )
    assert "bringing it back raised ValueError: not here" in store.run(second, "print(a)")["error"]["message"]
    assert store.run(second, "print(x)")["stdout"] == "[1]\n"
    manifest = store.snapshot(second, "s2")
    assert {each.name for each in manifest.dropped} == {"a", "load"}  # pickled together


class Plain(pickle.Unpickler):
    """Reads what needs the standard library only, such as the context of decimals."""

    def find_class(self, module: str, name: str) -> Any:
        assert module.partition(".")[0] in sys.stdlib_module_names, f"{module}.{name} would have to be there"
        return super().find_class(module, name)


def test_what_is_beside_variables_needs_no_package_of_the_sandbox_it_was_written_in(tmp_path: Path) -> None:
    """NumPy may be loaded unasked, and not be there at the provider to which the session is forked."""
    before = numpy.random.get_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", numpy.exceptions.ComplexWarning)
        numpy.random.seed(11)
        state = Surroundings(str(tmp_path), {}).written_down()
        following = numpy.random.random()
        read = Plain(io.BytesIO(pickle.dumps(state))).load()
        assert (numpy.exceptions.__name__, "ComplexWarning") in [entry[2] for entry in state["warnings"]]
        Surroundings(str(tmp_path), {}).bring_back({**read, "path": (), "environment": {}})
        assert numpy.random.random() == following
        assert warnings.filters[0][2] is numpy.exceptions.ComplexWarning
    numpy.random.set_state(before)


def test_a_kind_of_warning_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    entries = [("ignore", None, ("gone_package", "Gone"), None, 0), ("ignore", None, ("builtins", "Warning"), None, 0)]
    with warnings.catch_warnings():
        Surroundings(str(tmp_path), {}).bring_back({"warnings": entries})
        assert [entry[2] for entry in warnings.filters] == [Warning]
