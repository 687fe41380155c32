"""What repeats itself is found identical: nothing of how it is executed again may show."""

from __future__ import annotations

import pytest

from runs.engine.limits import Limits
from tests.runs.replay.reexecution.test_reexecution import reexecute
from tests.runs.services.test_snapshots import run_cells

pytestmark = pytest.mark.django_db(transaction=True)

NAMES_OF_CELLS = """
import traceback
try:
    1 / 0
except ZeroDivisionError:
    traceback.print_exc()
---
def deep(n): return deep(n - 1) if n else 1 / 0
print(deep.__code__.co_filename)
deep(3)
---
import warnings
warnings.warn('old')
print('after')
---
import inspect
def shown(): return 1
print(inspect.getsource(shown), __name__, sorted(dir())[:5])
---
x = (1,
---
print(sorted(name for name in globals() if not name.startswith('_')))
---
def kept(): raise KeyError('kept')
try:
    kept()
except KeyError as error:
    caught = error
---
raise caught
"""
ENDINGS = """
import sys
sys.exit(3)
---
raise KeyboardInterrupt
---
input('name? ')
---
x = 5
import os
os._exit(0)
---
print('x' in globals(), len(context))
y = 6
---
assert y == 7, 'seven'
---
class Own(Exception):
    def __str__(self): return 'mine' * 3
raise Own(1)
---
raise RuntimeError from ValueError(1)
"""
OUTPUT = """
print('x' * 3_000_000)
---
for n in range(20_000): print(n)
---
import sys
print('\\ud800 \\x00 \\x1b[31m é 漢 \\r over')
sys.stdout.buffer.write(b'\\xff\\xfe bytes\\n')
---
import os
os.write(1, b'direct\\n')
os.write(2, b'to stderr\\n')
print('mixed', file=sys.stderr, end='')
---
import subprocess
print(subprocess.run(['/bin/echo', 'child'], capture_output=True).stdout)
---
import threading
thread = threading.Thread(target=print, args=('thread',))
thread.start(); thread.join()
---
import logging
logging.warning('logged %s', 5)
---
print('y' * 6_000_000)
"""
VALUES = """
from dataclasses import dataclass, field
@dataclass
class Item:
    size: int
    parts: list = field(default_factory=list)
item = Item(1)
item.parts.append(item)
print(item)
---
from enum import Enum, auto
class Kind(Enum):
    A = auto()
    B = auto()
chosen = {Kind.B: Kind.A}
print(chosen)
---
from collections import ChainMap, OrderedDict, defaultdict, namedtuple
ordered, lists = OrderedDict(a=1), defaultdict(lambda: [0])
lists[1].append(2)
chain, Point = ChainMap({1: 2}, lists), namedtuple('Point', 'x y')
point = Point(1, 2)
print(ordered, dict(lists), point)
---
import functools, itertools
@functools.lru_cache
def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
big, power, count = fibonacci(80), functools.partial(pow, 2), itertools.count(5)
next(count)
print(big, power(10), fibonacci.cache_info())
---
import array, datetime, decimal, fractions, pathlib, re, uuid
many = [re.compile('a+'), pathlib.Path('x'), datetime.date(2020, 1, 2), decimal.Decimal('1.10'), fractions.Fraction(1, 3)]
more = [uuid.UUID(int=5), array.array('d', [1.5]), 1j, float('nan'), -0.0, 10**300, b'x', range(3), slice(1, 2), ...]
print(many, more)
---
seen = {('a', n) for n in range(50)} | {'text', 1.5, None, frozenset({'in', 'side'})}
print(seen)
---
class Meta(type):
    def __new__(m, name, bases, body): return super().__new__(m, name, bases, {**body, 'made': True})
class Slots(metaclass=Meta):
    __slots__ = ('a', 'b')
    @property
    def both(self): return self.a, self.b
slots = Slots()
slots.a, slots.b = 1, [slots]
print(Slots.made)
---
import hashlib, io, random
buffer, own, digest = io.StringIO('abc'), random.Random(5), hashlib.sha256(b'x')
buffer.read(1), own.random()
print(buffer.getvalue())
---
print(buffer.read(), own.random(), digest.hexdigest())
---
def numbers():
    for n in range(9): yield n
begun = numbers()
print(next(begun))
handle = open('f.txt', 'w')
handle.write('half')
---
print(next(begun))
handle.write(' more')
handle.close()
print(open('f.txt').read())
---
key = object()
keyed = {key: 1, print: 2, int: 3}
print(len(keyed), keyed[key])
---
objects = {type('T', (), {})() for _ in range(5)}
print(len(objects))
"""
PLACE = """
del context
x = 1
---
import os
os.makedirs('sub', exist_ok=True)
os.chdir('sub')
os.environ['MINE'] = 'yes'
open('here.txt', 'w').write('a')
---
print(os.listdir('.'), os.environ.get('MINE'), os.path.basename(os.getcwd()))
---
os.chdir('..')
open('tool.py', 'w').write('VALUE = 41\\ndef more(): return VALUE + 1\\n')
---
import sys
sys.path.insert(0, '.')
import tool
print(tool.more())
---
tool.VALUE = 1
answer['content'] = 'half'
print(answer)
---
import random
random.seed(3)
print(random.random())
random.shuffle(shuffled := list(range(20)))
---
print(random.random(), shuffled)
print = print
---
import builtins
builtins.mine = 5
---
print(mine)
---
_ = 5
__hidden = 6
print(_)
"""
ASKING = """
one = llm_query('first')
print(one)
---
many = llm_query_batched(['a', 'a', 'b'])
print(many)
---
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool: many = list(pool.map(llm_query, [f'q{n}' for n in range(30)]))
print(many[:2])
---
child = rlm_query('do a thing')
print(child)
---
children = rlm_query_batched(['one', 'two'])
print(children)
---
try:
    print(llm_query('x', model='no such model'))
except Exception as error:
    print(type(error), error)
---
import threading
thread = threading.Thread(target=llm_query, args=('nobody waits',))
thread.start()
print('gone on')
---
print(llm_query('second'), SHOW_VARS())
---
empty = llm_query_batched([])
print(empty, llm_query(''))
---
long = llm_query('word ' * 50_000)
print(len(long))
"""
ALL = {
    "names of cells": NAMES_OF_CELLS,
    "endings": ENDINGS,
    "output": OUTPUT,
    "values": VALUES,
    "place": PLACE,
    "asking": ASKING,
}


@pytest.mark.parametrize("kind", ALL)
def test_what_repeats_is_identical(kind: str) -> None:
    cells = [cell.strip() for cell in ALL[kind].split("---\n")]
    session = run_cells(*cells, limits=Limits(max_steps_per_node=len(cells) + 1))
    assert session.answer == "done"
    result = reexecute(session)
    found = [(step["step"], step["findings"], step["cause"]) for step in result["steps"] if step.get("findings")]
    assert found == []
    assert result["verdict"] == "identical", result.get("problems")
    assert sum(step["node"] == 0 for step in result["steps"]) == len(cells) + 1
