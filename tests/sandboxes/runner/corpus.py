# ruff: noqa: E501
"""Namespaces to write down and bring back: small programs, told in steps, and which of their variables are not held.

Values of every kind are put into places of every kind (`generated`); what needs words of its own is in `TOLD`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    name: str
    steps: tuple[str, ...]
    dropped: tuple[str, ...] = ()


VALUES = {
    "none": "None",
    "true": "True",
    "zero": "0",
    "negative": "-7",
    "huge": "-(3 ** 5000)",
    "float": "0.1",
    "minus_zero": "-0.0",
    "nan": "float('nan')",
    "infinity": "float('-inf')",
    "complex": "complex(-0.0, 2.5)",
    "ellipsis": "...",
    "not_implemented": "NotImplemented",
    "empty_text": "''",
    "text": "'Grüße, 世界 \\U0001f40d'",
    "surrogates": "'a\\ud800b'",
    "nul": "'a\\x00b\\r\\n'",
    "long_text": "'é' * 40_000",
    "long_surrogates": "'\\udcff' * 40_000",
    "bytes": "bytes(range(256))",
    "long_bytes": "bytes(range(256)) * 200",
    "bytearray": "bytearray(b'abc')",
    "memoryview": "memoryview(bytearray(b'abcdef'))",
    "memoryview_part": "memoryview(b'abcdef')[2:4]",
    "range": "range(10, 0, -3)",
    "slice": "slice(1, None, 2)",
    "empty_list": "[]",
    "empty_tuple": "()",
    "empty_dict": "{}",
    "empty_set": "set()",
    "list": "[1, 'two', [3.0, [None]]]",
    "tuple": "(1, ('two', (3.0,)), [4])",
    "dict": "{'b': 1, 'a': 2, 3: [4], (5, 6): {'c': 7}, None: 8}",
    "set": "{1, 'two', (3, 4), None}",
    "frozenset": "frozenset({1, frozenset({2, 3})})",
    "deep": "functools.reduce(lambda inner, _: [inner], range(150), [])",
    "counter": "collections.Counter('abracadabra')",
    "defaultdict": "collections.defaultdict(list, {'a': [1]})",
    "ordered": "collections.OrderedDict([('b', 1), ('a', [2])])",
    "deque": "collections.deque([1, [2], 3], maxlen=5)",
    "chain_map": "collections.ChainMap({'a': 1}, {'b': [2]})",
    "simple_namespace": "types.SimpleNamespace(a=1, b=[2])",
    "mapping_proxy": "types.MappingProxyType({'a': [1]})",
    "datetime": "datetime.datetime(2026, 2, 28, 23, 59, 59, 999999, datetime.timezone.utc, fold=1)",
    "date": "datetime.date(1, 1, 1)",
    "time": "datetime.time(1, 2, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=5.5), 'here'))",
    "timedelta": "datetime.timedelta(days=-1, microseconds=7)",
    "zone": "zoneinfo.ZoneInfo('Europe/Berlin')",
    "decimal": "decimal.Decimal('-1.230E+400')",
    "decimal_nan": "decimal.Decimal('sNaN123')",
    "fraction": "fractions.Fraction(-355, 113)",
    "path": "pathlib.Path('a') / 'b.txt'",
    "uuid": "uuid.UUID(int=2 ** 127 + 1)",
    "address": "ipaddress.ip_network('10.0.0.0/8')",
    "pattern": "re.compile(r'(?P<a>b+)', re.IGNORECASE | re.DOTALL)",
    "match": "re.compile('b+').search('aabbbcc', 1, 6)",
    "array": "array.array('d', [1.5, -0.0])",
    "partial": "functools.partial(max, [1, 2], key=abs)",
    "itemgetter": "operator.itemgetter('a', 2)",
    "methodcaller": "operator.methodcaller('split', 'x', maxsplit=1)",
    "builtin": "len",
    "bound_builtin": "[3, 1].append",
    "unbound": "str.upper",
    "class_of_library": "collections.OrderedDict",
    "function_of_library": "json.dumps",
    "alias_of_types": "list[int] | dict[str, tuple[int, ...]]",
    "typing": "typing.Optional[typing.Callable[[int], str]]",
    "error": "ValueError('bad', [1])",
    "os_error": "FileNotFoundError(2, 'No such file', 'a.txt')",
    "unicode_error": "UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'invalid start byte')",
    "key_error": "KeyError('a')",
    "error_group": "ExceptionGroup('two', [ValueError(1), TypeError('x')])",
    "code": "compile('a + 1', '<text>', 'eval')",
    "list_iterator": "iter([1, [2], 3])",
    "dict_view_list": "list({'a': 1}.items())",
    "count": "itertools.count(5, 2)",
    "zip": "zip([1, 2], 'ab')",
    "enumerate": "enumerate(['a', 'b'], 3)",
    "random": "random.Random(7)",
    "string_io": "io.StringIO('text\\nmore')",
    "bytes_io": "io.BytesIO(b'data')",
    "event": "threading.Event()",
    "queue": "queue.Queue(3)",
    "lock": "threading.Lock()",
    "element": "xml.etree.ElementTree.fromstring('<a b=\"c\"><d>e</d></a>')",
    "object": "object()",
    "signal": "signal.SIGTERM",
    "ints": "numpy.arange(12).reshape(3, 4)",
    "floats": "numpy.array([0.0, -0.0, numpy.nan, numpy.inf])",
    "fortran": "numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3))",
    "big_endian": "numpy.arange(3, dtype='>i2')",
    "bools": "numpy.array([[True], [False]])",
    "zero_size": "numpy.empty((0, 3))",
    "zero_dimensions": "numpy.array(5)",
    "structured": "numpy.array([(1, 2.0, b'x')], dtype=[('a', 'i4'), ('b', 'f8'), ('c', 'S3')])",
    "datetimes": "numpy.array(['2026-01-01', 'NaT'], dtype='datetime64[D]')",
    "unicodes": "numpy.array(['a', 'bcd'])",
    "objects": "numpy.array([[1], None, 'x'], dtype=object)",
    "masked": "numpy.ma.masked_array([1, 2, 3], [False, True, False])",
    "scalar": "numpy.float32(0.1)",
    "scalar_date": "numpy.datetime64('2026-01-01T00:00')",
    "dtype": "numpy.dtype([('a', '<i4')])",
    "view": "numpy.arange(10)[2:8:2]",
    "broadcast": "numpy.broadcast_to(numpy.arange(3), (2, 3))",
    "read_only": "numpy.frombuffer(b'abcdefgh', dtype='u1')",
    "generator_of_numbers": "numpy.random.default_rng(3)",
    "ufunc": "numpy.add",
    "frame": "pandas.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': [0.5, numpy.nan]})",
    "frame_of_dates": "pandas.DataFrame({'v': [1, 2]}, index=pandas.date_range('2026-01-01', periods=2, tz='UTC'))",
    "frame_of_levels": "pandas.DataFrame([[1, 2]], columns=pandas.MultiIndex.from_tuples([('a', 1), ('b', 2)]))",
    "categories": "pandas.Series(pandas.Categorical(['a', 'b', 'a'], ordered=True), name='c')",
    "nullable": "pandas.Series([1, None, 3], dtype='Int64')",
    "strings": "pandas.Series(['a', None], dtype='string')",
    "series_of_objects": "pandas.Series([[1], {'a': 2}, None])",
    "index": "pandas.Index(['a', 'b'], name='i')",
    "range_index": "pandas.RangeIndex(0, 10, 3)",
    "intervals": "pandas.interval_range(0, 4, 2)",
    "periods": "pandas.period_range('2026-01', periods=3, freq='M')",
    "timestamp": "pandas.Timestamp('2026-01-01', tz='Europe/Berlin')",
    "missing": "pandas.NA",
    "not_a_time": "pandas.NaT",
    "timedelta_of_frame": "pandas.Timedelta('1 day 2 hours')",
    "sparse": "pandas.arrays.SparseArray([0, 0, 1])",
    "empty_frame": "pandas.DataFrame()",
}
_IMPORTS = (
    *("array", "collections", "datetime", "decimal", "fractions", "functools", "io", "ipaddress", "itertools", "json"),
    *("numpy", "operator", "pandas", "pathlib", "queue", "random", "re", "signal", "threading", "types", "typing"),
    *("uuid", "xml.etree.ElementTree", "zoneinfo"),
)
MODULES = ", ".join(_IMPORTS)
PLACES = {
    "alone": ("x = {value}; y = 1", "y = x", "del x"),
    "shared": (
        "x = [{value}, 'beside']; y = x; z = {{'in': x, 'again': x[0]}}",
        "y.append(2)",
        "z['in'] is y; z = (z, x[0])",
    ),
    "in_an_object": (
        "class Holder:\n    kept = ({value},)\nh = Holder(); h.mine = Holder.kept[0]; h.me = h",
        "h.more = [h.mine]",
        "k = h; Holder.count = 1",
    ),
    "in_a_closure": (
        "def outer(given):\n    def get(default=given): return given, default\n"
        "    def put(new):\n        nonlocal given\n        given = [given, new]\n    return get, put\n"
        "get, put = outer({value})",
        "put('more')",
        "def other(): return get()",
    ),
}


def generated() -> list[Case]:
    """Every value in every place, with changes in between."""
    return [
        Case(f"{value}-{place}", tuple(step.format(value=code) for step in steps))
        for value, code in VALUES.items()
        for place, steps in PLACES.items()
    ]


TOLD = [
    Case("now_one_list", ("x = [1]; y = [1]", "y = x", "x.append(2)")),
    Case("no_longer_one_list", ("x = [1]; y = x", "y = list(x)", "x.append(2)")),
    Case("now_one_below", ("x = {'a': [1]}; y = [[1]]", "y[0] = x['a']", "y[0].append(2)")),
    Case("no_longer_one_below", ("x = {'a': [1]}; y = [x['a']]", "y[0] = [1]", "y[0].append(2)")),
    Case("swapped", ("x = [1]; y = [1]; z = [x]", "x, y = y, x", "x.append(3)")),
    Case("shared_iterator", ("i = iter([1, 2, 3]); j = i", "next(j)")),
    Case("shared_object", ("x = object(); y = x; z = {x: [x]}",)),
    Case("shared_error", ("x = ValueError(1); y = x", "y.note = [x]")),
    Case("cycle_of_lists", ("x = []; x.append(x)", "x.append([x])")),
    Case("cycle_of_dicts", ("x = {}; y = {'x': x}; x['y'] = y", "del y", "x['y']['z'] = 1")),
    Case("cycle_through_tuple", ("x = []; y = (x, 1); x.append(y)", "x.append(2)")),
    Case("cycle_through_object", ("class A: pass\nx = A(); x.me = {'me': [x]}", "x.me['other'] = A()")),
    Case("through_a_function", ("n = []\ndef f(): n.append(len(n))", "f()", "f(); f()")),
    Case(
        "through_a_method", ("class A:\n    log = []\n    def m(self): A.log.append(self)\na = A()", "a.m()", "a.m()")
    ),
    Case(
        "through_a_local",
        ("def make():\n    kept = []\n    return kept.append, lambda: kept\nput, get = make()", "put(1)"),
    ),
    Case("recursion", ("def f(n): return 1 if n < 2 else n * f(n - 1)\ng = f", "del f")),
    Case("mutual_recursion", ("def a(n): return b(n)\ndef b(n): return n and a(n - 1)", "a(3)")),
    Case("local_recursion", ("def make():\n    def f(n): return n and f(n - 1)\n    return f\ng = make()", "g(2)")),
    Case("defaults", ("def f(a, b=[1], *c, d={'e': 2}, **g) -> int: 'says'\nh = f.__defaults__", "h[0].append(1)")),
    Case("attributes_of_function", ("def f(): pass\nf.calls = []", "f.calls.append(f)")),
    Case("lambdas", ("fs = [lambda x, i=i: x + i for i in range(3)]", "fs.append(fs[0])")),
    Case("empty_cell", ("def make():\n    def f(): return later\n    if 0: later = 1\n    return f\nf = make()",)),
    Case(
        "decorated",
        (
            "import functools\ndef d(f):\n    @functools.wraps(f)\n    def g(*a): return f(*a)\n    return g\n"
            "@d\ndef h(x): 'says'; return x",
        ),
    ),
    Case("cached", ("import functools\n@functools.cache\ndef f(n): return n and f(n - 1)", "f(3)", "g = f")),
    Case(
        "single_dispatch",
        ("import functools\n@functools.singledispatch\ndef f(x): return 0", "@f.register\ndef _(x: int): return 1"),
    ),
    Case(
        "inheritance",
        (
            "class A:\n    def m(self): return 'a'\nclass B(A):\n    def m(self): return super().m() + 'b'\nb = B()",
            "del A",
            "b.x = [b]",
        ),
    ),
    Case(
        "diamond",
        ("class A: x = []\nclass B(A): pass\nclass C(A): x = A.x\nclass D(B, C): pass\nd = D()", "d.x.append(1)"),
    ),
    Case("slots", ("class A:\n    __slots__ = ('a', 'b')\nx = A(); x.a = [1]; y = x", "x.b = x.a", "del x.a")),
    Case(
        "slots_below",
        (
            "class A:\n    __slots__ = 'a'\nclass B(A):\n    __slots__ = ('b', '__dict__')\nx = B(); x.a = x.b = [1]",
            "x.c = x",
        ),
    ),
    Case(
        "dataclass",
        (
            "import dataclasses\n@dataclasses.dataclass\nclass P:\n    a: int\n    b: list = dataclasses.field(default_factory=list)\n"
            "p = P(1); q = P(1, p.b)",
            "q.b.append(p)",
        ),
    ),
    Case(
        "frozen_dataclass",
        (
            "import dataclasses\n@dataclasses.dataclass(frozen=True, slots=True, order=True)\nclass P:\n    a: int = 1\n"
            "p = {P(): [P(2)]}",
            "p[P(3)] = 4",
        ),
    ),
    Case(
        "enum",
        (
            "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 'b'\n    C = 1\nx = [E.A, E.B, E.C]; y = {E.A: 2}",
            "y[E.B] = x",
        ),
    ),
    Case("flags", ("import enum\nclass F(enum.IntFlag):\n    A = 1\n    B = 2\nx = F.A | F.B; y = F.A",)),
    Case(
        "named_tuple",
        (
            "import collections, typing\nP = collections.namedtuple('P', 'a b', defaults=[[]])\n"
            "class Q(typing.NamedTuple):\n    a: int\n    b: list = []\np = P(1); q = Q(1)",
            "p.b.append(q)",
        ),
    ),
    Case("typed_dict", ("import typing\nclass T(typing.TypedDict, total=False):\n    a: int\nx: T = {'a': 1}",)),
    Case(
        "protocol",
        ("import typing\n@typing.runtime_checkable\nclass T(typing.Protocol):\n    def m(self) -> int: ...\n",),
    ),
    Case("generic", ("import typing\nT = typing.TypeVar('T')\nclass G(typing.Generic[T]):\n    pass\ng = G[int]()",)),
    Case(
        "abstract",
        (
            "import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def m(self): ...\nclass B(A):\n    def m(self): return 1\nb = B()",
            "b.x = 1",
        ),
    ),
    Case(
        "properties",
        (
            "class A:\n    @property\n    def p(self): return self.v\n    @p.setter\n    def p(self, v): self.v = v\n"
            "    @classmethod\n    def c(cls): return cls\n    @staticmethod\n    def s(): return 1\na = A(); a.p = [1]",
            "a.p.append(2)",
        ),
    ),
    Case(
        "cached_property",
        (
            "import functools\nclass A:\n    @functools.cached_property\n    def p(self): return [1]\na = A()",
            "a.p.append(2)",
        ),
    ),
    Case(
        "descriptor",
        (
            "class D:\n    def __set_name__(self, owner, name): self.name = name\n"
            "    def __get__(self, obj, kind): return self if obj is None else obj.__dict__.get('_' + self.name)\n"
            "class A:\n    d = D()\na = A(); a._d = [1]",
            "a._d.append(2)",
        ),
    ),
    Case(
        "metaclass",
        (
            "class M(type):\n    made = []\n    def __new__(m, name, bases, d):\n        d['extra'] = [name]\n"
            "        return super().__new__(m, name, bases, d)\nclass A(metaclass=M): pass\na = A()",
            "A.extra.append(a)",
        ),
    ),
    Case(
        "arguments_of_class",
        (
            "class M(type):\n    def __new__(m, n, b, d, *, tag): return super().__new__(m, n, b, {**d, 'tag': tag})\n"
            "    def __init__(c, n, b, d, *, tag): pass\nclass A(metaclass=M, tag=[1]): pass\na = A()",
            "A.tag.append(a)",
        ),
    ),
    Case(
        "registered_subclasses",
        (
            "class A:\n    known = []\n    def __init_subclass__(cls, **o): A.known.append((cls, o))\nclass B(A, x=1): pass\nclass C(B): pass\nc = C()",
            "del A, B",
            "c.y = 1",
        ),
    ),
    Case(
        "enum_values",
        (
            "import enum\nclass F(enum.Flag):\n    NONE = 0\n    A = 1\n    B = 2\n    BOTH = 3\nclass G(enum.Enum):\n    A = [1]\n    def m(self): return self.value\nx = [F.NONE, F.BOTH, G.A]",
            "G.A.value.append(2)",
        ),
    ),
    Case(
        "private_slots",
        (
            "class A:\n    __slots__ = ('__x', 'y', '__weakref__')\n    def __init__(self): self.__x = [self]\na = A()",
            "a.y = 1",
        ),
    ),
    Case("nested_class", ("class A:\n    class B:\n        class C: x = [1]\nc = A.B.C()", "c.y = A.B")),
    Case(
        "local_class",
        (
            "def make(n):\n    class L:\n        k = n\n    return L\nx = make([1]); y = x(); z = make([1])()",
            "y.k.append(2)",
        ),
    ),
    Case("redefined_class", ("class A: v = 1\na = A()", "class A: v = 2\nb = A()", "a.x = b")),
    Case(
        "subclasses_of_builtins",
        (
            "class L(list): pass\nclass D(dict): pass\nclass S(str): pass\nclass I(int): pass\nclass T(tuple): pass\nclass F(set): pass\n"
            "l = L([1]); l.me = l; d = D(a=l); s = S('x'); s.y = [1]; i = I(5); t = T([l]); f = F([1]); f.z = d",
            "l.append(t)",
        ),
    ),
    Case(
        "default_factory",
        (
            "import collections\nd = collections.defaultdict(lambda: collections.defaultdict(int))\nd['a']['b'] += 1",
            "d['c']['d'] += 1",
        ),
    ),
    Case(
        "hash_of_its_own",
        (
            "class K:\n    def __init__(self, k): self.k = k\n    def __hash__(self): return hash(self.k)\n"
            "    def __eq__(self, o): return self.k == o.k\nd = {K('a'): 1}; s = {K('a')}",
            "d[K('b')] = s",
        ),
    ),
    Case(
        "reduce_of_its_own",
        (
            "class R:\n    def __init__(self, v): self.v = v\n    def __reduce__(self): return (R, (self.v,))\nr = R([1]); q = r.v",
            "q.append(2)",
        ),
    ),
    Case(
        "state_of_its_own",
        (
            "class S:\n    def __getstate__(self): return {'a': self.a}\n    def __setstate__(self, s): self.a = s['a']\ns = S(); s.a = [1]",
            "s.a.append(s)",
        ),
    ),
    Case(
        "arguments_of_new",
        (
            "class N:\n    def __new__(cls, a): o = super().__new__(cls); o.a = a; return o\n    def __getnewargs__(self): return (self.a,)\nn = N([1])",
            "n.a.append(2)",
        ),
    ),
    Case(
        "own_error",
        (
            "class E(Exception):\n    def __init__(self, a, b): super().__init__(a); self.b = b\ne = E(1, [2])",
            "e.b.append(e)",
        ),
    ),
    Case(
        "own_os_error",
        ("class E(OSError):\n    def __init__(self, path): super().__init__(2, 'gone', path)\ne = E('a.txt')",),
    ),
    Case(
        "caught_error",
        (
            "try:\n    try: 1 / 0\n    except ZeroDivisionError as z: raise ValueError('v') from z\nexcept ValueError as v: kept = v",
            "other = kept.__cause__",
        ),
    ),
    Case("weak_reference", ("import weakref\nclass A: pass\na = A(); r = weakref.ref(a); a.r = r", "b = r()")),
    Case(
        "weak_mappings",
        (
            "import weakref\nclass A: pass\na = A(); k = weakref.WeakKeyDictionary({a: [1]}); v = weakref.WeakValueDictionary(x=a); s = weakref.WeakSet([a])",
            "k[a].append(a)",
        ),
    ),
    Case(
        "generator_not_begun",
        ("def g(a, *b, c=1, **d):\n    yield a\nx = g([1], 2, c=3, d=4); y = (i for i in [1, 2])", "z = x"),
    ),
    Case("generator_ended", ("x = (i for i in [1]); list(x)",)),
    Case("generator_begun", ("def g():\n    yield 1\n    yield 2\nx = g(); next(x); y = [x]; k = 1",), ("x", "y")),
    Case("coroutine", ("async def c(): pass\nx = c(); k = [1]",), ("x",)),
    Case("open_file", ("x = open('/dev/null'); y = [x]; k = {}", "x.close()"), ("x", "y")),
    Case("socket", ("import socket\nx = socket.socket(); x.close(); k = 1",), ("x",)),
    Case("thread", ("import threading\nx = threading.Thread(target=print, name='t'); k = 1",)),
    Case("held_lock", ("import threading\nx = threading.Lock(); x.acquire(); k = {1}",), ("x",)),
    Case("frame", ("import sys\nx = sys._getframe(); k = [k for k in 'ab']",), ("x",)),
    Case(
        "refuses",
        ("class A:\n    def __reduce__(self): raise ValueError('no')\nx = A(); y = {'x': x}; k = [A]",),
        ("x", "y"),
    ),
    Case(
        "refuses_in_group",
        ("class A:\n    def __reduce_ex__(self, p): raise OSError\nk = [1]; x = [A(), k]", "k.append(2)"),
        ("x",),
    ),
    Case("too_deep", ("x = []\nfor _ in range(100_000): x = [x]\nk = [1]",), ("x",)),
    Case("modules", ("import math, os.path as p, collections.abc\nms = [math, {'p': p}]", "m = math; del math")),
    Case("module_of_its_own", ("import types\nm = types.ModuleType('own'); m.x = [1]; k = m.x", "k.append(m.x)")),
    Case("code_of_exec", ("d = {}; exec('def f(): return g()\\ndef g(): return [1]', d); f = d['f']", "f()")),
    Case("eval_of_names", ("x = [1]\nexec('y = x')", "eval('x.append(2)')", "globals()['z'] = y")),
    Case("deleted_and_back", ("x = [1]; y = x", "del x", "x = y", "y = 1")),
    Case("unusual_names", ("größe = [1]; _ = größe; _x = {}; __y = [_]", "_x['a'] = __y")),
    Case(
        "bound_methods",
        ("class A:\n    def m(self): return self\na = A(); m = a.m; n = A.m; b = [1].append", "m().x = [m]"),
    ),
    Case(
        "partial_of_own",
        (
            "import functools\ndef f(a, b): return a\nl = []; p = functools.partial(f, l, b={}); p.note = p",
            "l.append(1)",
        ),
    ),
    Case(
        "iterators",
        (
            "l = [1, 2, 3]; i = iter(l); next(i); e = enumerate(l); z = zip(l, l); m = map(str, l); r = reversed(l)",
            "l.append(4); next(e)",
        ),
    ),
    Case(
        "views_of_array",
        (
            "import numpy\na = numpy.arange(20); v = a[2:10:2]; w = v[1:]; t = a.reshape(4, 5).T",
            "v[0] = 99",
            "del a",
            "w[0] = 7",
        ),
    ),
    Case(
        "views_in_frame",
        (
            "import numpy, pandas\na = numpy.zeros((3, 2)); f = pandas.DataFrame(a, columns=['x', 'y']); s = f['x']; l = [a, f]",
            "f.loc[0, 'x'] = 5",
        ),
    ),
    Case(
        "objects_in_array",
        ("import numpy\nl = [1]; a = numpy.array([l, None, l], dtype=object)", "l.append(2)", "a[1] = a"),
    ),
    Case("frame_grows", ("import pandas\nf = pandas.DataFrame({'a': [1]}); g = f", "f['b'] = ['x']", "g = g.copy()")),
    Case(
        "frame_groups",
        (
            "import pandas\nf = pandas.DataFrame({'a': list('xyx'), 'b': [1, 2, 3]}); g = f.groupby('a')['b'].sum(); c = f['a'].astype('category')",
            "f.loc[3] = ['z', 4]",
        ),
    ),
    Case(
        "memory",
        ("b = bytearray(b'abcdefgh'); m = memoryview(b); p = m[2:5]; i = m.cast('I'); r = m.toreadonly()", "p[0] = 65"),
    ),
    Case("proxy_of", ("import types\nd = {'a': [1]}; p = types.MappingProxyType(d)", "d['b'] = p['a']")),
    Case(
        "chain_of",
        ("import collections\na = {'x': 1}; c = collections.ChainMap(a, {}).new_child()", "c['y'] = a", "a['z'] = c"),
    ),
    Case(
        "tree",
        (
            "class N:\n    def __init__(self, up=None):\n        self.up, self.below = up, []\n        up and up.below.append(self)\nroot = N(); a = N(root); b = N(a)",
            "b.up.up.below.append(N(b))",
        ),
    ),
    Case(
        "doubly_linked",
        (
            "class N: pass\nhead = last = N()\nfor i in range(200):\n    n = N(); n.i = i; n.before = last; last.after = n; last = n",
            "last.i = -1",
        ),
    ),
    Case("interned", ("a = 'x' * 10; b = 'x' * 10; t = (a, b); u = [t, t]", "u.append(t)")),
    Case("big_text_twice", ("a = 'é' * 50_000; b = [a, {'a': a}]", "c = a[:-1]; b.append(c)", "a = a + 'x'")),
]
CASES = [*generated(), *TOLD]
