"""Whose the names are that tests use and do not define: a program must not say what they compare with."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.sandbox import LocalSandbox

ABS = "def abs(value): return 0\ndef double(value): return 0"
SUM = "def total(items): return 0\nsum = total"
LIE = """
import sys
end = sys._getframe(1).f_locals["self"]
names = end._operations["names"]
end._operations["names"] = lambda wanted: {name: abs_ for name in wanted} if "abs" in wanted else names(wanted)
abs_ = lambda value: 0
def double(value): return 0
"""

FAKES: dict[str, tuple[str, Any]] = {
    "check without an entry point": (ABS, "def check(candidate):\n assert abs(candidate(2) - 4) < 1e-6"),
    "import solution": (ABS, "import solution\nassert abs(solution.double(2) - 4) < 1e-6"),
    "import solution by another way": (
        ABS,
        "import importlib\nmodule = importlib.import_module('solution')\nassert abs(module.double(2) - 4) < 1e-6",
    ),
    "from solution import": (ABS, "from solution import double\nassert abs(double(2) - 4) < 1e-6"),
    "a program that lies of its names": (LIE, "from solution import double\nassert abs(double(2) - 4) < 1e-6"),
    "import everything": (
        f"__all__ = ['double', 'abs']\n{ABS}",
        "from solution import *\nassert abs(double(2) - 4) < 1e-6",
    ),
    "import everything, more": (
        "__all__ = ['double', 'all', 'len']\ndef all(values): return True\ndef len(items): return 2\n"
        "def double(value): return []",
        "try:\n from solution import *\nexcept ImportError: pass\nassert len(double(1)) == 2",
    ),
    "nothing but all": (
        "def all(values): return True",
        "assert all(double(value) == 2 * value for value in range(5))",
    ),
    "an entry point of builtins": (
        SUM,
        {"test": "def check(candidate):\n assert candidate([1, 2]) == sum([1, 2])", "entry_point": "sum"},
    ),
    "math": (
        "class math:\n isclose = staticmethod(lambda *args, **more: True)\ndef root(value): return 0",
        ["assert math.isclose(root(4), 2.0)"],
    ),
    "numpy": (
        "class np:\n allclose = staticmethod(lambda *args: True)\ndef root(value): return 0",
        "assert np.allclose(root(4), 2)",
    ),
    "pytest": (
        "class pytest:\n approx = staticmethod(lambda value: 0)\ndef root(value): return 0",
        "assert root(4) == pytest.approx(2)",
    ),
    "isclose": (
        "def isclose(*args): return True\ndef root(value): return 0",
        "found = root(4)\nassert isclose(found, 2.0)",
    ),
    "isclose in a check": (
        "def isclose(*args): return True\ndef root(value): return 0",
        "def check(f):\n assert isclose(f(4), 2.0)",
    ),
    "isclose and if": (
        "def isclose(*args): return True\ndef root(value): return 0",
        "if not isclose(root(4), 2.0): raise AssertionError",
    ),
    "assert_allclose": ("def assert_allclose(*args): pass\ndef root(value): return 0", "assert_allclose(root(4), 2)"),
    "Counter": (
        "def Counter(items): return 0\ndef letters(text): return text",
        "assert Counter(letters('ab')) == Counter('xy')",
    ),
    "reduce": (
        "def reduce(*args): return 0\ndef total(items): return 0",
        "assert total([1, 2]) == reduce(lambda one, other: one + other, [1, 2])",
    ),
}


@pytest.mark.parametrize("name", FAKES)
def test_a_program_is_not_its_own_judge(name: str, strongest: LocalSandbox) -> None:
    code, tests = FAKES[name]
    outcome = strongest.run_blocking(code, tests, timeout=5)
    assert outcome.status in ("failed", "error", "unverifiable"), outcome


def test_a_program_is_not_told_what_is_expected(strongest: LocalSandbox) -> None:
    code = "class math:\n isclose = staticmethod(lambda *args: print(args))\ndef root(value): return 7"
    outcome = strongest.run_blocking(code, ["assert math.isclose(root(4), 2.0)"])
    assert (outcome.status, outcome.stdout) == ("failed", "")


HONEST: dict[str, tuple[str, Any]] = {
    "the only name, of builtins": ("def sum(a, b): return a + b", ["assert sum(2, 3) == 5", "assert sum(0, 0) == 0"]),
    "a name of builtins, imported": (
        "def max(a, b): return a if a > b else b\ndef double(value): return 2 * value",
        "from solution import double, max as larger\nassert larger(double(1), 3) == max([1, 3])",
    ),
    "a name of builtins by the way": (
        "def max(a, b=0): return a\ndef double(value): return 2 * value",
        "def check(candidate):\n    assert max([candidate(1), candidate(2)]) == 4",
    ),
    "an entry point of builtins": (
        "def sum(items): return 2",
        {"test": "def check(candidate):\n assert candidate([]) == 2 and sum([1]) == 1", "entry_point": "sum"},
    ),
    "modules that the program imports": (
        "import math\nfrom collections import Counter, deque\nimport datetime\ndef root(x): return x ** 0.5\n"
        "def letters(text): return Counter(text)\ndef tomorrow(day): return day + datetime.timedelta(days=1)",
        [
            "assert math.isclose(root(4), 2)",
            "assert letters('aab') == Counter({'a': 2, 'b': 1})",
            "assert letters(deque('ab')) == Counter('ab')",
            "assert tomorrow(datetime.date(2026, 1, 1)) == datetime.date(2026, 1, 2)",
        ],
    ),
    "what the library has, too": (
        "def gcd(a, b): return gcd(b, a % b) if b else a\ndef lcm(a, b): return a * b // gcd(a, b)",
        ["assert gcd(12, 8) == 4", "assert lcm(4, 6) == 12"],
    ),
    "an object called like a module": (
        "class Line:\n    def __init__(self): self.items = []\n    def push(self, item): self.items.append(item)",
        "queue = Line()\nqueue.push(1)\nassert queue.items == [1]",
    ),
    "everything": (
        "__all__ = []\nLIMIT = 3\ndef double(value): return 2 * value",
        "from solution import *\nassert double(2) > LIMIT",
    ),
    "a class of its own called like one": (
        "class Counter:\n    def __init__(self): self.count = 0\n    def increment(self): self.count += 1",
        "counter = Counter()\ncounter.increment()\nassert counter.count == 1",
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_names_stand_for_what_the_tests_mean(name: str, strongest: LocalSandbox) -> None:
    code, tests = HONEST[name]
    outcome = strongest.run_blocking(code, tests)
    assert outcome.status == "passed", outcome
