"""Programs that are right, of all the kinds that people and models write. Every one of them passes."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.sandbox import LocalSandbox

HONEST: dict[str, tuple[str, Any]] = {
    "a function": ("def double(value): return 2 * value", ["assert double(2) == 4", "assert double('a') == 'aa'"]),
    "check(candidate)": (
        "def helper(x): return x\ndef double(value): return helper(2 * value)",
        {"test": "METADATA = {}\ndef check(candidate):\n    assert candidate(2) == 4", "entry_point": "double"},
    ),
    "check of the last function": (
        "def helper(x): return x\ndef double(value): return 2 * value",
        "def check(candidate):\n    assert candidate(2) == 4",
    ),
    "check that the tests call themselves": (
        "def double(value): return 2 * value\ndef helper(x): return x",
        "def check(candidate):\n    assert candidate(2) == 4\ncheck(double)",
    ),
    "a method as entry point": (
        "class Solution:\n    def double(self, value): return 2 * value",
        {"test": "def check(candidate):\n    assert candidate(2) == 4", "entry_point": "Solution().double"},
    ),
    "test functions": (
        "def double(value): return 2 * value",
        "from solution import double\nimport solution\ndef test_a():\n    assert double(2) == 4\n"
        "class TestMore:\n    def test_b(self):\n        assert solution.double(3) == 6",
    ),
    "unittest": (
        "def double(value):\n    if value is None: raise ValueError('nothing')\n    return 2 * value",
        """import unittest
class Cases(unittest.TestCase):
    def setUp(self): self.two = 2
    def test_value(self): self.assertEqual(double(self.two), 4)
    def test_type(self): self.assertIsInstance(double(2), int)
    def test_error(self):
        with self.assertRaisesRegex(ValueError, "nothing"): double(None)
if __name__ == "__main__": unittest.main()""",
    ),
    "a class": (
        """class Cache:
    def __init__(self, size): self.size, self.items = size, {}
    def get(self, key):
        if key not in self.items: return -1
        self.items[key] = self.items.pop(key)
        return self.items[key]
    def put(self, key, value):
        self.items.pop(key, None); self.items[key] = value
        if len(self.items) > self.size: del self.items[next(iter(self.items))]
    def __len__(self): return len(self.items)""",
        """cache = Cache(2)
cache.put(1, 1); cache.put(2, 2)
assert cache.get(1) == 1
cache.put(3, 3)
assert cache.get(2) == -1 and len(cache) == 2
assert cache.items == {1: 1, 3: 3}
assert isinstance(cache, Cache)
assert cache is not None
assert hasattr(cache, "size") and not hasattr(cache, "other")""",
    ),
    "a dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n    y: int = 0\n"
        "    def moved(self, by: int) -> 'Point': return Point(self.x + by, self.y + by)",
        "point = Point(1).moved(2)\nassert (point.x, point.y) == (3, 2)\nassert str(point) == 'Point(x=3, y=2)'\n"
        "point.x = 7\nassert point.moved(0).x == 7",
    ),
    "operators between its own objects": (
        "class V:\n    def __init__(self, x): self.x = x\n    def __add__(self, other): return V(self.x + other.x)\n"
        "    def __iadd__(self, other): self.x += other.x; return self\n    def __neg__(self): return V(-self.x)",
        "assert (V(1) + V(2)).x == 3\na = V(1)\na += V(5)\nassert a.x == 6\nassert (-a).x == -6",
    ),
    "a closure": (
        "def counter():\n    count = 0\n    def step(by=1):\n        nonlocal count\n        count += by\n"
        "        return count\n    return step",
        "step = counter()\nassert [step(), step(), step(by=5)] == [1, 2, 7]",
    ),
    "a decorator": (
        "def twice(function):\n    def wrapped(*args): return function(*args) * 2\n    return wrapped",
        "@twice\ndef three(): return 3\nassert three() == 6",
    ),
    "a generator": (
        "def evens():\n    n = 0\n    while True:\n        yield n\n        n += 2",
        "from itertools import islice\nassert list(islice(evens(), 3)) == [0, 2, 4]\nit = evens()\n"
        "assert next(it) == 0 and next(it) == 2\nassert 6 in evens()",
    ),
    "a generator of objects": (
        "class N:\n    def __init__(self, v): self.v = v\ndef nodes():\n    yield N(1)\n    yield N(2)",
        "assert [node.v for node in nodes()] == [1, 2]",
    ),
    "a context manager": (
        "class Open:\n    def __enter__(self): self.on = True; return self\n"
        "    def __exit__(self, *_): self.on = False",
        "with Open() as thing:\n    assert thing.on is True\nassert thing.on is False",
    ),
    "arguments that it changes": (
        "def work(items, table, seen, matrix):\n    items.sort(); table['n'] = len(items); seen.add(1)\n"
        "    matrix[0].append(matrix); return items",
        "items, table, seen, row = [3, 1, 2], {}, set(), [0]\nmatrix = [row, row]\n"
        "assert work(items, table, seen, matrix) is items\nassert items == sorted(items)\n"
        "assert (items, table, seen) == ([1, 2, 3], {'n': 3}, {1})\nassert row[1] is matrix and len(row) == 2",
    ),
    "linked objects": (
        "class Node:\n    def __init__(self, value, next=None): self.value, self.next = value, next\n"
        "def total(node): return node.value + total(node.next) if node else 0",
        "head = Node(1, Node(2))\nhead.next.next = Node(3)\nassert total(head) == 6\n"
        "assert head.next.next.next is None",
    ),
    "exceptions that are expected": (
        "class TooSmall(ValueError):\n    def __init__(self, value):\n"
        "        super().__init__(f'{value} is too small')\n"
        "        self.value = value\ndef root(value):\n"
        "    if value < 0: raise TooSmall(value)\n    return value ** 0.5",
        """class raises:
    def __init__(self, kind): self.kind = kind
    def __enter__(self): return self
    def __exit__(self, kind, error, trace):
        assert kind is not None and issubclass(kind, self.kind)
        self.error = error
        return True
try:
    root(-4)
    assert False, "no error"
except TooSmall as error:
    assert error.value == -4 and str(error) == "-4 is too small"
with raises(ValueError) as caught:
    root(-9)
assert issubclass(TooSmall, ValueError)
try:
    root("x")
except TypeError:
    pass
else:
    assert False""",
    ),
    "its own in": (
        "class Trie:\n    def __init__(self): self.words = set()\n    def insert(self, word): self.words.add(word)\n"
        "    def __contains__(self, word): return word in self.words",
        "trie = Trie()\ntrie.insert('apple')\nassert 'apple' in trie and 'app' not in trie",
    ),
    "values that the tests change in its objects": (
        "class Node:\n    def __init__(self, value): self.value, self.children, self.names = value, [], {}\n"
        "    def count(self): return 1 + sum(child.count() for child in self.children)\n"
        "    def __getitem__(self, key): return self.names[key]",
        "root = Node(1)\nroot.children.append(Node(2))\nassert root.count() == 2\nroot.names['a'] = []\n"
        "root['a'].append(1)\nassert root['a'] == [1] and root.names == {'a': [1]}\n"
        "assert root.children is root.children\nroot.children.clear()\nassert root.count() == 1",
    ),
    "values that it changes in the tests' hands": (
        "log, CACHE, RATE = [], {}, 1\nclass Stack:\n    def __init__(self): self.items = []\n"
        "    def push(self, item): self.items.append(item); log.append(item); return CACHE.setdefault(item, RATE)\n"
        "def make():\n    made = []\n    return made, lambda item: made.append(item)",
        "import solution\nfrom solution import log, CACHE\nstack = Stack()\nitems = stack.items\nstack.push(1)\n"
        "assert items == [1] == log\nCACHE.clear()\nsolution.RATE = 2\nassert stack.push(1) == 2 and log == [1, 1]\n"
        "made, add = make()\nadd(3)\nassert made == [3]",
    ),
    "named tuples with methods": (
        "from typing import NamedTuple\nfrom collections import namedtuple\nclass P(NamedTuple):\n    x: int\n"
        "    y: int = 0\n    def norm(self): return (self.x ** 2 + self.y ** 2) ** 0.5\n    @property\n"
        "    def total(self): return self.x + self.y\n    def __str__(self): return f'<{self.x},{self.y}>'\n"
        "    @classmethod\n    def origin(cls): return cls(0, 0)\n"
        "class Q(namedtuple('Q', 'a')):\n    def double(self): return 2 * self.a\n"
        "def norm(point): return point.norm()",
        "point = P(3, 4)\nassert point.norm() == 5 and point.total == 7 and str(point) == '<3,4>'\n"
        "assert point == (3, 4) and point.x == 3 and isinstance(point, P) and norm(point) == 5\n"
        "assert repr(point) == 'P(x=3, y=4)' and P.origin() == (0, 0) and Q(2).double() == 4 and Q(2) == (2,)",
    ),
    "exceptions of modules that the tests do not load": (
        "import configparser, sqlite3\nclass Mine(configparser.Error): pass\n"
        "def f(kind): raise {1: configparser.NoSectionError, 2: sqlite3.IntegrityError, 3: Mine}[kind]('x')",
        "for kind in 1, 2, 3:\n    try:\n        f(kind)\n        assert False\n"
        "    except Exception as error:\n        assert 'x' in str(error)\n"
        "import configparser\ntry:\n    f(3)\n    assert False\nexcept configparser.Error: pass",
    ),
    "what exceptions hold": (
        "class Mine(Exception):\n    @property\n    def code(self): return 7\n"
        "def chained():\n    try: int('x')\n    except ValueError as error:\n"
        "        new = KeyError('k')\n        new.add_note('note')\n        raise new from error\n"
        "def many(): raise ExceptionGroup('both', [ValueError('a'), Mine('b')])\n"
        "def load(path): return open(path)\ndef own(): raise Mine",
        """try:
    chained()
except KeyError as error:
    assert isinstance(error.__cause__, ValueError) and error.__notes__ == ["note"]
seen = []
try:
    many()
except* ValueError as group:
    seen.append(group.exceptions[0].args)
except* Mine as group:
    seen.append(group.exceptions[0].args)
assert seen == [("a",), ("b",)]
try:
    load("nothing")
    assert False
except FileNotFoundError as error:
    assert (error.filename, error.errno) == ("nothing", 2)
try:
    own()
except Mine as error:
    assert error.code == 7""",
    ),
    "seeds": (
        "import random\ndef roll(): return random.randint(1, 10 ** 9)",
        "import random\nrandom.seed(3)\nfirst = roll()\nrandom.seed(3)\nassert first == roll()",
    ),
    "callbacks that it finds again": (
        "class Bus:\n    def __init__(self): self.calls = []\n    def on(self, call): self.calls.append(call)\n"
        "    def off(self, call): self.calls.remove(call)\n    def fire(self, x): [call(x) for call in self.calls]",
        "from unittest.mock import Mock\nclass Log:\n    def __init__(self): self.seen = []\n"
        "    def add(self, x): self.seen.append(x)\nlog, bus, mock, seen = Log(), Bus(), Mock(), []\n"
        "bus.on(log.add); bus.on(mock); bus.on(seen.append)\nbus.fire(1)\nbus.off(log.add)\nbus.fire(2)\n"
        "assert log.seen == [1] and seen == [1, 2]\nassert mock.call_count == 2\nmock.assert_called_with(2)",
    ),
    "harmless functions of the library": (
        "def apply(function, *args): return function(*args)\ndef keyed(items, key): return sorted(items, key=key)",
        "import operator, math\nfrom functools import partial\nassert apply(math.sqrt, 4) == 2\n"
        "assert apply(operator.add, 1, 2) == 3\nassert keyed(['b', 'A'], str.lower) == ['A', 'b']\n"
        "assert apply(partial(lambda a, b: a - b, 5), 3) == 2\n"
        "assert keyed(['b', 'a'], {'a': 1, 'b': 0}.get) == ['b', 'a']",
    ),
    "what is written about it": (
        "import inspect\ndef f(a: int, b: str = '') -> int:\n    'What f does.'\n    return 1\n"
        "def source(): return inspect.getsource(f)",
        "assert f.__doc__ == 'What f does.'\nassert f.__annotations__ == {'a': int, 'b': str, 'return': int}\n"
        "assert 'What f does' in source()",
    ),
    "a file that it is in": (
        "\ufeffimport os, shutil\nHERE = os.path.dirname(os.path.abspath(__file__))\ndef copied():\n"
        "    open('a', 'w').write('x'); os.chmod('a', 0o600); os.makedirs('d'); shutil.copy('a', 'd/b')\n"
        "    shutil.copytree('d', 'e'); return open(os.path.join(HERE, 'e', 'b')).read()",
        "assert copied() == 'x'",
    ),
    "recursion as deep as elsewhere": ("def depth(n): return n and 1 + depth(n - 1)", "assert depth(990) == 990"),
    "tests that depend on where they stand": (
        "def double(value): return [2 * value]",
        "class Base:\n    def given(self): return [3]\nclass TestMore(Base):\n    first = double(1)[0]\n"
        "    assert double(1)[0] == first\n    def test_it(self):\n        found = double(2)\n"
        "        assert double(super().given()[0]) == [6]\n        assert locals()['found'] == [4]\n"
        "        assert [double(x)[0] == 2 * x for x in (1, 2)] == [True] * 2",
    ),
    "recursion": (
        "import sys\nsys.setrecursionlimit(5000)\ndef depth(n): return 0 if n == 0 else 1 + depth(n - 1)",
        "assert depth(3000) == 3000",
    ),
    "callbacks": (
        "def apply(function, items, key=None): return sorted(map(function, items), key=key)",
        "seen = []\nassert apply(lambda x: seen.append(x) or -x, [1, 2]) == [-2, -1]\nassert seen == [1, 2]\n"
        "assert apply(str, [10, 9], key=len) == ['9', '10']\nassert apply(abs, [-1]) == [1]",
    ),
    "callbacks that raise": (
        "def retry(function, times):\n    for _ in range(times):\n        try: return function()\n"
        "        except ConnectionError: pass\n    return None\ndef plain(function): return function()",
        """class Mine(Exception): pass
tries = []
def flaky():
    tries.append(1)
    if len(tries) < 3: raise ConnectionError("again")
    return "ok"
assert retry(flaky, 5) == "ok" and len(tries) == 3
def broken(): raise Mine("x")
try:
    plain(broken)
    assert False
except Mine as error:
    assert error.args == ("x",)""",
    ),
    "iterators as arguments": (
        "def total(items): return sum(items)",
        "assert total(x * x for x in range(4)) == 14\nassert total(iter([])) == 0",
    ),
    "tolerance": (
        "def root(x): return x ** 0.5",
        "import math\nassert abs(root(2) - 1.41421356) < 1e-6\n"
        "assert math.isclose(root(4), 2)\nassert root(9) == 3.0",
    ),
    "plain data of every kind": (
        """from collections import *; from decimal import *; from fractions import *; from datetime import *
Point = namedtuple("Point", "x y")
def same(value): return value
def point(): return Point(1, 2)
def many():
    return [None, True, 2**100, -0.0, float("inf"), 1 + 2j, "\\udc80é", b"\\0\\xff", (1, (2,)), {1, 2},
            frozenset("a"), {(1, 2): [3]}, deque([1], 3), OrderedDict(a=1), Counter("aab"), defaultdict(list, a=[1]),
            range(3), Decimal("1.10"), Fraction(1, 3), datetime(2026, 1, 2, 3, tzinfo=timezone.utc), date(2026, 1, 2),
            timedelta(days=1), int, ...]""",
        """from collections import *; from decimal import *; from fractions import *; from datetime import *
import math
expected = [None, True, 2**100, -0.0, float("inf"), 1 + 2j, "\\udc80é", b"\\0\\xff", (1, (2,)), {1, 2},
            frozenset("a"), {(1, 2): [3]}, deque([1], 3), OrderedDict(a=1), Counter("aab"), defaultdict(list, a=[1]),
            range(3), Decimal("1.10"), Fraction(1, 3), datetime(2026, 1, 2, 3, tzinfo=timezone.utc), date(2026, 1, 2),
            timedelta(days=1), int, ...]
found = many()
assert found == expected
assert [type(value) for value in found] == [type(value) for value in expected]
assert same(expected) == expected
assert math.copysign(1, found[3]) == -1 and math.isnan(same(float("nan")))
assert point() == (1, 2) and point().x == 1 and point()._asdict() == {"x": 1, "y": 2}
assert isinstance(point(), Point)
assert type(same(True)) is bool and str(found[17]) == "1.10" """,
    ),
    "one list in two places": (
        "def pair(items): return [items, items, [items]]",
        "items = [1]\nfound = pair(items)\nassert found[0] is items and found[2][0] is items",
    ),
    "threads": (
        "from threading import Thread\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "def squares(n):\n    with ThreadPoolExecutor(4) as pool: return list(pool.map(lambda x: x * x, range(n)))\n"
        "def call(function):\n    found = []\n"
        "    threads = [Thread(target=lambda: found.append(function())) for _ in 'ab']\n"
        "    for thread in threads: thread.start()\n    for thread in threads: thread.join()\n    return found",
        "assert squares(5) == [0, 1, 4, 9, 16]\nassert call(lambda: 7) == [7, 7]",
    ),
    "asyncio": (
        "import asyncio\nasync def later(x):\n    await asyncio.sleep(0.001)\n    return x\n"
        "def both(a, b):\n    async def work(): return await asyncio.gather(later(a), later(b))\n"
        "    return asyncio.run(work())",
        "import asyncio\nassert both(1, 2) == [1, 2]\nassert asyncio.run(later(3)) == 3\n"
        "async def test_it():\n    assert await asyncio.gather(later(4), later(5)) == [4, 5]",
    ),
    "printing": (
        "def greet(name): print('hello', name)",
        "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out:\n    greet('you')\n"
        "assert out.getvalue() == 'hello you\\n'",
    ),
    "files of its own": (
        "import tempfile, os\ndef keep(text):\n    with tempfile.TemporaryDirectory() as place:\n"
        "        path = os.path.join(place, 'a')\n        with open(path, 'w') as file: file.write(text)\n"
        "        os.replace(path, path + 'b')\n        return open(path + 'b').read()\n"
        "def load(path): return open(path).read()",
        "assert keep('x' * 1000) == 'x' * 1000\nwith open('note.txt', 'w') as file: file.write('shared')\n"
        "assert load('note.txt') == 'shared'",
    ),
    "random numbers": (
        "import random\ndef roll(seed): return random.Random(seed).random()",
        "import random\nassert roll(7) == random.Random(7).random() and random.random() != random.random()",
    ),
    "a timer of its own": (
        "import signal\ndef wait():\n    def stop(*_): raise TimeoutError\n    signal.signal(signal.SIGALRM, stop)\n"
        "    try:\n        signal.setitimer(signal.ITIMER_REAL, 0.01)\n"
        "        while True: pass\n    except TimeoutError: return 1",
        "assert wait() == 1",
    ),
    "the usual imports": (
        "import collections, itertools, heapq, bisect, functools, re, math, random, string, typing, json, operator\n"
        "import copy, datetime, decimal, fractions, statistics, enum, dataclasses, abc, contextlib, textwrap\n"
        "import base64, struct, zlib, uuid, time, calendar, csv, io, sys, os, os.path, pathlib, queue, threading\n"
        "import unicodedata, difflib, pprint, types, inspect, logging, argparse, html, urllib.parse, secrets\n"
        "import sqlite3, bz2, lzma, zoneinfo, xml.etree.ElementTree, unittest.mock, email.message, hashlib\n"
        "def heads(items):\n    heap = list(items); heapq.heapify(heap)\n    return heapq.heappop(heap)",
        "assert heads([3, 1, 2]) == 1",
    ),
    "names that the tests need": ("MOD = 7\nclass E(Exception): pass\ndef f(): return MOD", "assert f() == MOD == 7"),
    "a match statement": (
        "def kind(value):\n    match value:\n        case {'a': x}: return x\n"
        "        case [x, *_]: return x\n    return None",
        "assert kind({'a': 1}) == 1 and kind([2, 3]) == 2 and kind(4) is None",
    ),
    "setup code of the tests": (
        "def area(r): return 3 * r * r",
        {
            "test_list": ["assert math.floor(area(2)) == N"],
            "test_setup_code": "import math\nN = 12",
            "test_imports": [],
        },
    ),
    # Programs that read and write.
    "input()": ("n = int(input())\nprint(*[int(x) * n for x in input().split()])", [("2\n1 2 3\n", "2 4 6\n")]),
    "sys.stdin.read()": ("import sys\nprint(sum(map(int, sys.stdin.read().split())))", [("1 2\n3", "6")]),
    "lines of sys.stdin": (
        "import sys\nfor line in sys.stdin: print(line.strip()[::-1])",
        [("ab\ncd\n", "ba  \ndc\n\n")],
    ),
    "bytes of sys.stdin": (
        "import sys, os, io\ndata = sys.stdin.buffer.read().split()\nos.write(1, b' '.join(data[::-1]) + b'\\n')",
        {"inputs": ["a b", "c"], "outputs": ["b a", "c"]},
    ),
    "open(0)": ("print(len(open(0).readlines()))", [{"input": "a\nb\n", "output": "2"}]),
    "a main function": ("def main():\n    print('hi')\nif __name__ == '__main__':\n    main()", [("", "hi")]),
    "a thread with a large stack": (
        "import sys, threading\nsys.setrecursionlimit(1 << 20)\nthreading.stack_size(1 << 26)\n"
        "def depth(n): return n and 1 + depth(n - 1)\n"
        "threading.Thread(target=lambda: print(depth(int(input())))).start()",
        [("20000", "20000")],
    ),
    "output at exit": (
        "import atexit, io, sys\nsys.stdout = io.StringIO()\n"
        "@atexit.register\ndef flush(): sys.__stdout__.write(sys.stdout.getvalue())\nprint(input())",
        [("late", "late")],
    ),
    "leaving by exit": ("import sys\nprint(int(input()) + 1)\nsys.exit()", [("1", "2"), ("2", "3")]),
    "letters of the world": ("print(input().upper())", [("äß€", "ÄSS€")]),
    # Calls with arguments.
    "a function with fn_name": (
        "def add(a, b): return (a, b, a + b)",
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": [[1, 2, 3]]},
    ),
    "Solution with fn_name": (
        "from typing import *\nclass Solution:\n    def add(self, a: List[int], b: int) -> int: return sum(a) + b",
        {"fn_name": "add", "inputs": ["[1, 2]\n3", "[]\n0"], "outputs": ["6", "0"]},
    ),
    "wrapped answers with fn_name": (
        "def up(s): return s.upper()",
        {"fn_name": "up", "inputs": [["a"]], "outputs": [["A"]]},
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_passes(name: str, sandbox: LocalSandbox) -> None:
    code, tests = HONEST[name]
    outcome = sandbox.run_blocking(code, tests, timeout=20)
    assert outcome.status == "passed", outcome
    assert outcome.score == 1.0
    assert outcome.isolation != "none"
