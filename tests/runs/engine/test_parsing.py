"""Replies as models write them."""

from __future__ import annotations

import pytest

from runs.engine.parsing import code_cells, cut_off, final_text, final_variable, split_reply

FORMAT_PROMPT = '''\
prompt = """Reply like this:
```json
{"topic": "..."}
```
Nothing else."""
print(llm_query(prompt))'''


@pytest.mark.parametrize(
    ("reply", "cells"),
    [
        ("", ()),
        ("No code here.", ()),
        ("```repl\nx = 1\n```", ("x = 1",)),
        ("First\n```repl\na\n```\nthen\n```python\nb\n```\nend", ("a", "b")),
        ("```py\na\n```\n```Python3\nb\n```", ("a", "b")),
        ("```repl\r\nx = 1\r\ny = 2\r\n```\r\n", ("x = 1\ny = 2",)),
        ("~~~repl\nx = 1\n~~~", ("x = 1",)),
        ("~~~repl\nx = '```'\n```\ny\n~~~", ("x = '```'\n```\ny",)),
        ("````repl\n```\n````", ("```",)),
        ("``` repl\nx\n```", ("x",)),
        ("```repl title=a\nx\n```", ("x",)),
        ("```repl\nx\n```   ", ("x",)),
        ("1. Look:\n   ```repl\n   for x in y:\n       print(x)\n   ```\n", ("for x in y:\n    print(x)",)),
        ("```repl\n\n\n  x\n\n```", ("x",)),
        ("```json\n{}\n```\n```\nplain\n```\n```bash\nls\n```", ()),
        ("```repl\n\n```", ()),
        ("use ```repl``` blocks\n```repl\nx\n```", ("x",)),
        ("```repl``` and ```\n```repl\nx\n```", ("x",)),
        (f"```repl\n{FORMAT_PROMPT}\n```", (FORMAT_PROMPT,)),
        ('```repl\n# it\'s a comment with """ in it\nx\n```\n', ('# it\'s a comment with """ in it\nx',)),
        ('```repl\nx = "it\'s \\" "\n```', ('x = "it\'s \\" "',)),
        ("```repl\ns = '''a\n```\nprint(1)", ("s = '''a",)),
    ],
)
def test_cells_of_a_reply(reply: str, cells: tuple[str, ...]) -> None:
    assert code_cells(split_reply(reply)[0]) == cells


@pytest.mark.parametrize("reply", ["```repl\nx = 1", "```repl\na\n```\n```repl\nx = [1,\n", "```python\n"])
def test_a_block_that_the_reply_s_end_cuts_off_is_not_run(reply: str) -> None:
    blocks, _ = split_reply(reply)
    assert cut_off(blocks)
    assert "x = " not in "".join(code_cells(blocks))


def test_text_outside_blocks_is_kept_apart() -> None:
    _, prose = split_reply("before\n```repl\nFINAL(inside)\n```\nafter")
    assert prose == "before\nafter"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("FINAL(42)", "42"),
        ("Done.\n  FINAL(42) and more", "42"),
        ("**FINAL(42)**", "42"),
        ("> `FINAL(42)`", "42"),
        ("FINAL(a (b) c)", "a (b) c"),
        ("FINAL([1, (2)])", "[1, (2)]"),
        ('FINAL("a) b")', "a) b"),
        ("FINAL('''long\ntext''')", "long\ntext"),
        ("FINAL(don't know (yet))", "don't know (yet)"),
        ("FINAL(two\nlines)", "two\nlines"),
        ("FINAL(never closed", "never closed"),
        ("FINAL(first)\nFINAL(second)", "second"),
        ("FINAL()", ""),
        ("FINAL_VAR(x)", None),
        ("MY_FINAL(x)", None),
        ("x.FINAL(x)", None),
        ("I will write FINAL(answer) when I know.", None),
        ("no answer", None),
    ],
)
def test_answers_in_the_text(text: str, answer: str | None) -> None:
    assert final_text(text) == answer


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("FINAL_VAR(result)", "result"),
        ('FINAL_VAR("result")', "result"),
        ("FINAL_VAR(`result`)", "result"),
        ("FINAL_VAR( result )", "result"),
        ("FINAL_VAR(a)\nFINAL_VAR(b)", "b"),
        ("FINAL_VAR(result[0])", None),
        ("then FINAL_VAR(result)", None),
        ("FINAL(result)", None),
    ],
)
def test_variables_named_in_the_text(text: str, name: str | None) -> None:
    assert final_variable(text) == name


def test_a_small_model_s_answer_may_stand_in_a_sentence() -> None:
    assert final_text("So it is FINAL(42).", anywhere=True) == "42"
    assert final_variable("So it is FINAL_VAR(x).", anywhere=True) == "x"


@pytest.mark.parametrize(
    "reply",
    ["FINAL(" * 200_000, "FINAL(" + "'" * 500_000, "`" * 500_000 + "x`", '```repl\n"""\n' * 50_000, "~" * 500_000],
)
def test_a_hostile_reply_is_read_in_linear_time(reply: str) -> None:
    """Anything quadratic would take hours here instead of a fraction of a second."""
    blocks, prose = split_reply(reply)
    final_text(prose)
    final_variable(prose)
    assert code_cells(blocks) is not None
