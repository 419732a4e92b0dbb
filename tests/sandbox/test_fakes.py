"""Programs that would rather seem right than be right. None of them passes, whatever it is that they try."""

from __future__ import annotations

import pytest

from cot_distill.sandbox import LocalSandbox

TESTS = """
def test_numbers():
    assert double(21) == 42
    assert double(4) == 8

def test_text():
    assert double("ab") == "abab"
"""

UNCLEAR = {"unverifiable"}
WRONG = {"failed", "error", "exited"}

LIAR = """
class Liar({base}):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __bool__(self): return True
    def __hash__(self): return hash(42)
    def __sub__(self, other): return 0
    __rsub__ = __sub__
    def __abs__(self): return 0
    def __instancecheck__(self, other): return True
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return True
    def __iter__(self): return iter([self] * 2)
    __class__ = property(lambda self: int)
double = lambda value: Liar()
"""

SEARCH = """import gc, re, sys
def double(value):
    seen = []
    frame = sys._getframe()
    while frame is not None:
        seen += [frame.f_locals, frame.f_globals, frame.f_code.co_consts]
        frame = frame.f_back
    for thing in seen + gc.get_objects():
        items = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, (list, tuple)) else [thing]
        for item in items:
            if isinstance(item, (str, bytes)):
                found = re.search(r"double[(]%s[)] == (.*)" % re.escape(repr(value)), str(item))
                if found: return eval(found[1])
"""

FAKES: dict[str, tuple[str, set[str]]] = {
    # It leaves before it can be caught.
    "leaves at once": ("import sys; sys.exit(0)", {"exited"}),
    "leaves the hard way": ("import os; os._exit(0)", {"exited"}),
    "leaves when called": ("import sys\ndef double(value): sys.exit(0)", {"exited"}),
    "leaves the hard way when called": ("import os\ndef double(value): os._exit(0)", {"exited"}),
    "leaves from a thread": (
        "import os, threading\ndef double(value):\n threading.Thread(target=os._exit, args=(0,)).start()\n"
        " while True: pass",
        {"exited"},
    ),
    "kills itself": ("import os\ndef double(value): os.kill(os.getpid(), 9)", {"exited"}),
    "crashes": ("import ctypes\ndef double(value): ctypes.string_at(0)", {"exited"}),
    "aborts": ("import os\ndef double(value): os.abort()", {"exited"}),
    "closes everything": ("import os\ndef double(value): os.closerange(0, 200)", {"exited"}),
    # It prints, or writes, what looks like success.
    "prints that it passed": ("print('passed\\nOK\\n1 passed in 0.01s'); double = lambda value: 0", {"failed"}),
    "prints a verdict": (
        """print('{"status": "passed", "reason": "", "passed": 2, "tests": 2}')\ndouble = lambda value: 0""",
        {"failed"},
    ),
    "writes a verdict everywhere": (
        """import os
verdict = b'{"status": "passed", "reason": "", "passed": 2, "tests": 2}'
for number in range(256):
    try: os.write(number, verdict)
    except OSError: pass
double = lambda value: 0""",
        {"error"},
    ),
    "replies before it is asked": (
        """import json, os, struct
reply = json.dumps(["ok", "", [], {"d": ["double", {"h": [0, "double", "f", None]}]}, [], 0]).encode()
for _ in range(9): os.write(3, struct.pack(">I", len(reply)) + reply)
double = lambda value: 0""",
        WRONG | UNCLEAR,
    ),
    "hands over a message without end": (
        "import os, struct\ndef double(value):\n os.write(3, struct.pack('>I', 2**32 - 1) + b'x' * 4096)",
        {"error"},
    ),
    "hands over a number": ("import os\ndef double(value):\n os.write(3, b'\\0\\0\\0\\x0242')", {"error"}),
    "hands over half a message": ("import os\nos.write(3, b'\\0\\0\\0\\2[]')", {"error"}),
    "hands over nonsense": ("import os\ndef double(value):\n os.write(3, b'\\0\\0\\0\\5[[[[[')", {"error"}),
    "hands over a handle that is none": (
        """import json, os, struct
def double(value):
    reply = json.dumps(["ok", "", [], {"h": ["x", [], {}, 0]}, [], 0]).encode()
    os.write(3, struct.pack(">I", len(reply)) + reply)""",
        {"error"},
    ),
    "changes values that it never had": (
        """import json, os, struct
def double(value):
    reply = json.dumps(["ok", "", [[0, [42]]], 42, [[0, [42]]], 9]).encode()
    os.write(3, struct.pack(">I", len(reply)) + reply)""",
        {"error"},
    ),
    "raises a class of the other side": (
        """import json, os, struct
def double(value):
    kinds = [["inside.stubs", "SpoiledError", None], ["builtins", "Exception", None]]
    error = {"number": 0, "kind": kinds, "args": ["passed", ""], "more": {}, "text": "", "line": None, "notes": []}
    reply = json.dumps(["no", "", [], {**error, "from": ""}, [], 0]).encode()
    os.write(3, struct.pack(">I", len(reply)) + reply)""",
        {"error"},
    ),
    "hands over a named tuple with a strange name": (
        """import json, os, struct
def double(value):
    reply = json.dumps(["ok", "", [], {"n": ["P(object): x = 1 #", ["a"], [42], None]}, [], 0]).encode()
    os.write(3, struct.pack(">I", len(reply)) + reply)""",
        {"error"},
    ),
    "asks the tests for what they did not hand over": (
        """import json, os, struct
def double(value):
    reply = json.dumps(["ask", "call", [{"y": "int"}, "42"], {}, [], 0]).encode()
    os.write(3, struct.pack(">I", len(reply)) + reply)""",
        {"error"},
    ),
    # It changes what judges.
    "replaces builtins": (
        """import builtins
builtins.AssertionError = builtins.Exception = type("Never", (BaseException,), {})
builtins.all = builtins.any = builtins.bool = lambda *args: True
builtins.abs = lambda *args: 0
double = lambda value: None""",
        WRONG,
    ),
    "defines what the tests use of builtins": (
        "def print(*args): pass\ndef all(values): return True\n"
        "def sorted(*args): return []\ndouble = lambda value: 0",
        {"failed"},
    ),
    "defines the tests": (
        "def test_numbers(): pass\ndef test_text(): pass\ndef check(*args): pass\ndouble = lambda value: 0",
        {"failed"},
    ),
    "patches json": (
        'import json\njson.dumps = lambda *args, **kwargs: \'["ok", "", [], 42, [], 0]\'\ndouble = lambda value: 0',
        {"error", "failed"},
    ),
    "patches this end of the line": (
        """import sys
end = sys.modules["inside.program"].ProgramEnd
end.perform = lambda self, operation, args, kwargs: True
sys.modules["inside.wire"].Writer.write = lambda self, value, depth=0: {"y": "NotImplemented"}
double = lambda value: 0""",
        WRONG | UNCLEAR,
    ),
    "patches the tests' modules here": (
        """import sys
sys.modules["inside.findings"].sum_up = lambda *args: {"status": "passed", "reason": "", "passed": 2, "tests": 2}
sys.modules["inside.tests"].judge = lambda *args: None
double = lambda value: 0""",
        {"failed"},
    ),
    "patches import": (
        "import builtins\nbuiltins.__import__ = lambda *args, **kwargs: 42\ndouble = lambda value: 0",
        {"failed", "error", "unverifiable"},
    ),
    "traces everything": (
        """import sys, threading
def trace(frame, event, arg):
    for name in list(frame.f_locals): frame.f_locals[name] = 42
    return trace
sys.settrace(trace); threading.settrace(trace)
double = lambda value: 0""",
        WRONG | UNCLEAR,
    ),
    # It returns what is equal to everything.
    "an object equal to everything": (LIAR.format(base="object"), UNCLEAR),
    "an int equal to everything": (LIAR.format(base="int"), UNCLEAR),
    "a text equal to everything": (LIAR.format(base="str"), UNCLEAR),
    "a list equal to everything": (LIAR.format(base="list"), UNCLEAR),
    "a dict equal to everything": (LIAR.format(base="dict"), UNCLEAR),
    "an array equal to everything": (
        """class Array:
    shape, dtype, ndim, __array_priority__ = (), float, 0, 1e9
    def __array__(self, *args): return self
    def __array_ufunc__(self, *args, **kwargs): return True
    def all(self): return True
    def __eq__(self, other): return self
    def __bool__(self): return True
double = lambda value: Array()""",
        UNCLEAR,
    ),
    "unittest.mock.ANY": ("from unittest.mock import ANY\ndouble = lambda value: ANY", UNCLEAR),
    "a class equal to everything": (
        "class Meta(type):\n def __eq__(self, other): return True\n __hash__ = type.__hash__\n"
        "class Value(metaclass=Meta): pass\ndouble = lambda value: Value",
        UNCLEAR,
    ),
    "the right type with a wrong heart": (
        "class Int(int):\n def __eq__(self, other): return int(other) == other\n __hash__ = int.__hash__\n"
        "double = lambda value: Int(7)",
        UNCLEAR,
    ),
    "a liar within a list": (LIAR.format(base="object") + "double = lambda value: [Liar()]", {"failed"}),
    # It looks for what is expected.
    "reads the expected values from frames and the heap": (SEARCH, {"failed"}),
    "reads the memory of everybody": (
        """import os, re
def double(value):
    for process in [os.getppid(), *range(os.getpid() - 3, os.getpid() + 3), "self"]:
        try:
            for line in open(f"/proc/{process}/maps"):
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                memory = open(f"/proc/{process}/mem", "rb"); memory.seek(start)
                if b"assert double(21)" in memory.read(end - start): return 42
        except (OSError, ValueError, OverflowError): pass""",
        {"failed"},
    ),
    "reads every descriptor": (
        """import os
def double(value):
    found = b""
    for number in range(256):
        if number == 3: continue
        try: os.lseek(number, 0, 0); found += os.read(number, 1 << 16)
        except OSError: pass
    return 42 if b"assert" in found else None""",
        {"failed"},
    ),
    # It raises what the tests do not expect, or looks like what they do.
    "raises AssertionError": ("def double(value): raise AssertionError('double(21) == 42')", {"error"}),
    "raises StopIteration": ("def double(value): raise StopIteration(42)", UNCLEAR),
    "raises GeneratorExit": ("def double(value): raise GeneratorExit", {"error"}),
    "raises KeyboardInterrupt": ("def double(value): raise KeyboardInterrupt", {"error"}),
    "raises an exception of its own": (
        "class Passed(BaseException): pass\ndef double(value): raise Passed",
        {"error"},
    ),
    "raises one that calls itself shared": (
        """class SpoiledError(BaseException): pass
SpoiledError.__module__ = "inside.stubs"
def double(value): raise SpoiledError("passed", "")""",
        {"error"},
    ),
    "raises one that cannot be looked at": (
        """class Bad(Exception):
    args = property(lambda self: 1 / 0)
    def __str__(self): raise SystemExit(0)
    __repr__ = __str__
def double(value): raise Bad""",
        WRONG | UNCLEAR,
    ),
    "returns what cannot be looked at": (
        """class Bad:
    def __repr__(self): raise SystemExit(0)
    __str__ = __hash__ = __repr__
    def __getattribute__(self, name): raise SystemExit(0)
double = lambda value: Bad()""",
        WRONG | UNCLEAR,
    ),
    "catches everything": (
        "def double(value):\n try: return int('x')\n except BaseException: return None",
        {"failed"},
    ),
    "does nothing": ("", {"error"}),
    "is no Python": ("double(value) = value + value", {"error"}),
    "is another program": ("def triple(value): return 3 * value", {"error"}),
}


@pytest.mark.parametrize("name", FAKES)
def test_a_fake_does_not_pass(name: str, strongest: LocalSandbox) -> None:
    code, expected = FAKES[name]
    outcome = strongest.run_blocking(code, TESTS, timeout=5)
    assert outcome.status in expected, outcome
    assert outcome.passed is not True


TRAPS: dict[str, tuple[str, str, set[str]]] = {
    "ends a loop of the tests": (
        "def double(value): raise StopIteration",
        "assert all(map(lambda value: double(value) == 2 * value, [1, 2]))",
        UNCLEAR,
    ),
    "ends a loop of the tests by an item": (
        "class Items:\n def __getitem__(self, key): raise StopIteration\ndouble = lambda value: Items()",
        "values = double(3)\nassert all(map(lambda index: values[index] == 6, [0, 1]))",
        UNCLEAR,
    ),
    "is gone where the tests expect any error": (
        "import os\ndef double(value): os._exit(0)",
        "try:\n double(None)\nexcept:\n pass\nassert True",
        {"exited"},
    ),
    "is equal where the tests catch everything": (
        LIAR.format(base="object"),
        "try:\n assert double(2) == 4\nexcept BaseException:\n pass",
        UNCLEAR,
    ),
    "is close to everything": (LIAR.format(base="float"), "assert abs(double(2) - 4) < 1e-6", UNCLEAR),
    "holds everything": (LIAR.format(base="list"), "assert 4 in double(2)", UNCLEAR),
    "is true": (LIAR.format(base="object"), "assert double(2)", UNCLEAR),
    "is an instance of everything": (LIAR.format(base="object"), "assert isinstance(double(2), float)", UNCLEAR),
    "sorts as it likes": (LIAR.format(base="object"), "assert max(double(2), 4) == 4", UNCLEAR),
    "empties its argument": (
        "def ordered(items): items.clear(); return []",
        "items = [3, 1, 2]\nassert ordered(items) == sorted(items)",
        UNCLEAR,
    ),
    "changes its argument to what it returns": (
        "def ordered(items): items[:] = [0]; return [0]",
        "def test_it():\n items = [3, 1]\n found = ordered(items)\n assert found == sorted(items)",
        UNCLEAR,
    ),
    "swallows the asserts of a callback": (
        "def each(items, function):\n try: function(None)\n except BaseException: pass",
        "def look(item): assert item == 1\neach([1], look)\nassert each([], look) is None",
        {"failed"},
    ),
    "is asked nothing": ("def double(value): return 0", "assert True", UNCLEAR),
    "takes the place of abs": (
        "def abs(value): return 0\ndef double(value): return 0",
        "assert abs(double(2) - 4) < 1e-6",
        {"failed"},
    ),
    "takes the place of both names of builtins": (
        "def sum(*values): return 0\ndef abs(value): return 0",
        "assert abs(sum(2, 2) - 4) < 1e-6",
        UNCLEAR,
    ),
    "says that two objects are the same": (
        "class Node: pass\nnode = Node()\ndef find(value): return Node()",
        "assert find(1) is node",
        UNCLEAR,
    ),
    "raises where nothing may be raised": (
        "def double(value): return value",
        "with raises(ValueError):\n double(2)\nassert double",
        {"error"},
    ),
    "says of what type it is": (
        "class Meta(type):\n def __eq__(self, other): return True\n __hash__ = type.__hash__\n"
        "class Value(metaclass=Meta): pass\ndef double(value): return Value()",
        "assert type(double(2)) == int",
        UNCLEAR,
    ),
    "gives a loop nothing to do": (
        "def items(): return []",
        "for item in items(): assert item == 3\nfor item in items():\n if item != 3: raise AssertionError\n"
        "left = items()\nwhile left: assert left.pop() == 3\nassert all(item == 3 for item in items())",
        UNCLEAR,
    ),
    "ends a unittest case as if it were done": (
        "import unittest.case\ndef double(value): raise unittest.case._ShouldStop()",
        "import unittest\nclass Cases(unittest.TestCase):\n def test_it(self): self.assertEqual(double(2), 4)",
        UNCLEAR,
    ),
    "ends a part of a unittest case": (
        "import unittest.case\nclass Stop(unittest.case._ShouldStop): pass\ndef double(value): raise Stop",
        "import unittest\nclass Cases(unittest.TestCase):\n def test_it(self):\n  for value in range(3):\n"
        "   with self.subTest(value): self.assertEqual(double(value), 2 * value)",
        UNCLEAR,
    ),
    "ends an asynchronous unittest case": (
        "import unittest.case\nasync def double(value): raise unittest.case._ShouldStop()",
        "import unittest\nclass Cases(unittest.IsolatedAsyncioTestCase):\n"
        " async def test_it(self): self.assertEqual(await double(1), 2)",
        UNCLEAR,
    ),
    "skips a unittest case": (
        "import unittest\ndef double(value): raise unittest.SkipTest('not today')",
        "import unittest\nclass Cases(unittest.TestCase):\n def test_it(self): self.assertEqual(double(2), 4)",
        UNCLEAR,
    ),
    "is expected to fail": (
        "def double(value): return 5",
        "import unittest\nclass Cases(unittest.TestCase):\n @unittest.expectedFailure\n"
        " def test_it(self): self.assertEqual(double(2), 5)",
        UNCLEAR,
    ),
    "cancels a task of the tests": (
        "import asyncio\nasync def double(value): raise asyncio.CancelledError",
        "import asyncio\nasync def test_it():\n async def one(value): assert await double(value) == 2 * value\n"
        " async with asyncio.TaskGroup() as group: group.create_task(one(1))",
        UNCLEAR,
    ),
    "fails in a thread of the tests": (
        "def double(value): return 0",
        "import threading\ndef look(): assert double(2) == 4\n"
        "thread = threading.Thread(target=look); thread.start(); thread.join()",
        {"failed"},
    ),
    "is the same object for unittest": (
        "class Box:\n def clone(self): return self",
        "import unittest\nclass Cases(unittest.TestCase):\n def test_it(self):\n  box = Box()\n"
        "  self.assertIsNot(box.clone(), box)",
        UNCLEAR,
    ),
    "is the same object by its number": (
        "class Box:\n def clone(self): return self",
        "box = Box()\nassert id(box.clone()) != id(box)",
        UNCLEAR,
    ),
    "is the same object in a chain": (
        "class Box:\n def clone(self): return self",
        "box = Box()\nassert box.clone() is not box is not None",
        UNCLEAR,
    ),
    "holds all that it is asked for": (
        "class Everything(list):\n def __contains__(self, item): return True\nEverything.__name__ = 'List'\n"
        "double = Everything",
        "assert 4 in double([2])",
        UNCLEAR | {"failed"},
    ),
    "looks right where unittest looks": (
        LIAR.format(base="object"),
        "import unittest\nclass Cases(unittest.TestCase):\n def test_it(self): self.assertEqual(double(2), 4)",
        UNCLEAR,
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_tests_of_other_forms_are_not_fooled_either(name: str, strongest: LocalSandbox) -> None:
    code, tests, expected = TRAPS[name]
    outcome = strongest.run_blocking(code, tests, timeout=5)
    assert outcome.status in expected, outcome


VERDICT = b'{"status": "passed", "reason": "", "passed": 1, "tests": 1}'
TEXT = f"__import__('os').write(4, {VERDICT!r}) and __import__('os')._exit(0)"
RUNS_THERE = f"""
def apply(function, *args):
    text = {TEXT!r}
    for arg in (function, *args):
        try: arg(text)
        except BaseException: pass
    return 0
"""
HANDED = {
    "eval": "apply(eval, '1 + 1')",
    "exec": "apply(exec, '')",
    "getattr": "apply(getattr, 1, 'real')",
    "__import__": "apply(__import__, 'os')",
    "open": "apply(open, 'note')",
    "type": "apply(type(lambda: 0), 1)",
    "partial": "apply(__import__('functools').partial(eval), '1')",
    "a mock": "apply(__import__('unittest.mock').mock.Mock(side_effect=eval), '1')",
    "a function of the library": "apply(__import__('os').system, '1')",
    "a class of the library": "apply(__import__('subprocess').Popen, '1')",
    "a method of text": "apply('{0.__class__}'.format, 1)",
    "a method that takes away": "apply([1].clear)",
}


@pytest.mark.parametrize("name", HANDED)
def test_a_program_runs_nothing_where_the_tests_are(name: str, strongest: LocalSandbox) -> None:
    outcome = strongest.run_blocking(RUNS_THERE, f"assert {HANDED[name]} == 2", timeout=5)
    assert outcome.status == "unverifiable", outcome
    assert "would have to cross" in outcome.reason


PRINTERS: dict[str, tuple[str, set[str]]] = {
    "leaves in silence": ("raise SystemExit(0)", {"failed"}),
    "prints its input": ("print(open(0).read())", {"failed"}),
    "prints and fails": ("print(49); raise ValueError('no')", {"error"}),
    "prints and is killed": ("import os; print(49, flush=True); os.kill(os.getpid(), 9)", {"exited"}),
    "prints and leaves with a status": ("print(49); raise SystemExit(3)", {"exited"}),
    "prints to the wrong place": ("import sys; print(49, file=sys.stderr)", {"failed"}),
    "prints too much": ("print(49); print(50)", {"failed"}),
    "closes its output": ("import os; os.close(1)", {"failed"}),
}


@pytest.mark.parametrize("name", PRINTERS)
def test_a_program_that_prints_the_wrong_thing_does_not_pass(name: str, strongest: LocalSandbox) -> None:
    code, expected = PRINTERS[name]
    outcome = strongest.run_blocking(code, [("7\n", "49\n")], timeout=5)
    assert outcome.status in expected, outcome
