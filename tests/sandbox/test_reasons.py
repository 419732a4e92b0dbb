"""What an outcome says: which test it was, what was seen, where it happened; and how outputs are compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.sandbox import LocalSandbox, Outcome
from cot_distill.sandbox.reading import agree

DOUBLE = "def double(value):\n    if value is None:\n        raise ValueError('no value')\n    return 2 * value\n"

REASONS: list[tuple[str, Any, str, str, float | None]] = [
    (DOUBLE, "assert double(2) == 5", "failed", "double(2) == 5: 4 == 5 is false", 0.0),
    (
        DOUBLE,
        "assert double(2) == 4\nassert double(3) > 7, 'more'",
        "failed",
        "double(3) > 7: 6 > 7 is false (more)",
        0.5,
    ),
    (
        DOUBLE,
        ["assert double(1) == 2", "assert double(2) != 4"],
        "failed",
        "test 2 of 2: double(2) != 4: 4 != 4 is false",
        0.5,
    ),
    (DOUBLE, "assert double(0)", "failed", "double(0) is 0", 0.0),
    (DOUBLE, "assert double(1) == 2 and double(2) == 3", "failed", "double(1) == 2 and double(2) == 3 is False", 0.0),
    (DOUBLE, "assert (double(2)\n        == 5)", "failed", "double(2) == 5: 4 == 5 is false", 0.0),
    (DOUBLE, "assert double('é') == 'éè'", "failed", "double('é') == 'éè': 'éé' == 'éè' is false", 0.0),
    (
        DOUBLE,
        "def test_it():\n    assert double(2) is None",
        "failed",
        "test_it: double(2) is None: 4 is None is false",
        0.0,
    ),
    (DOUBLE, "raise AssertionError(f'got {double(2)}')", "failed", "got 4", 0.0),
    (DOUBLE, "assert double([1] * 200) == 1", "failed", "double([1] * 200) == 1: [1, 1, 1", 0.0),
    (DOUBLE, "double(None)\nassert True", "error", "ValueError: no value (line 3)", 0.5),
    (
        DOUBLE,
        "assert len(double(2)) == 1",
        "error",
        "TypeError: object of type 'int' has no len(), in the tests",
        0.0,
    ),
    (DOUBLE, "from solution import halve\nassert halve(2) == 1", "error", "the program does not define", 0.0),
    (DOUBLE, "assert missing_here(double(2))", "error", "the program does not define missing_here", 0.0),
    ("x = 1\ny = x / 0\n", "assert double(2)", "error", "ZeroDivisionError: division by zero (line 2)", 0.0),
    ("def double(value)\n", "assert double(2)", "error", "SyntaxError: expected ':' (line 1)", 0.0),
    ("class E(KeyError): pass\ndef f(): raise E('k')", "assert f()", "error", "E: 'k' (line 2)", 0.0),
    ("import sys\nsys.exit(3)", "assert double(2)", "exited", "the program left with status 3 (line 2)", 0.0),
    (
        "import os\nos._exit(7)",
        "assert double(2)",
        "exited",
        "the program ended before its tests (exit status 7)",
        0.0,
    ),
    ("import os\nos.kill(os.getpid(), 11)", "assert double(2)", "exited", "(killed by SIGSEGV)", 0.0),
    (DOUBLE, "import nothing_like_it\nassert double(2)", "unverifiable", "No module named 'nothing_like_it'", None),
    ("import nothing_like_it", "assert double(2)", "unverifiable", "No module named 'nothing_like_it'", None),
    (DOUBLE, "assert 1 / 0 == double(2)", "unverifiable", "the tests fail by themselves: ZeroDivisionError", None),
    (
        DOUBLE,
        "assert double(2) == 4\ndef test_it(capsys): pass",
        "unverifiable",
        "test_it needs fixtures: capsys",
        None,
    ),
    (
        DOUBLE,
        "from unittest.mock import patch\nassert double(2) == 4",
        "unverifiable",
        "they patch what the program",
        None,
    ),
    (DOUBLE, "import sys\nsys.stdin = None\nassert double(2) == 4", "unverifiable", "they replace sys.stdin", None),
    (DOUBLE, "class Node: pass\nassert double(Node())", "unverifiable", "a value of the type Node", None),
    (
        DOUBLE + "x = '\ud800'",
        "assert double(2)",
        "error",
        "the program is no text: it holds half a letter (U+D800)",
        None,
    ),
    (
        "def f(): raise ValueError('\\udc80\\x1b[31m\\n')",
        "assert f()",
        "error",
        r"ValueError: \udc80\x1b[31m\n (line 1)",
        0.0,
    ),
    (
        "from multiprocessing.pool import ThreadPool\ndef f(): return ThreadPool(2).map(abs, [1])",
        "assert f() == [1]",
        "unverifiable",
        "FileNotFoundError in multiprocessing",
        None,
    ),
    (
        DOUBLE,
        "import unittest\nclass T(unittest.TestCase):\n def test_it(self):\n  with self.assertLogs(): double(2)",
        "unverifiable",
        "assertLogs hears nothing",
        None,
    ),
    (
        "def send(to): to.write('x')",
        "import io\nout = io.StringIO()\nsend(out)\nassert out.getvalue() == 'x'",
        "unverifiable",
        "the program looks for 'write' in a StringIO",
        None,
    ),
    (
        "def send(to): to.post('x')",
        "from unittest.mock import Mock\nto = Mock()\nsend(to)\nto.post.assert_called_once()",
        "unverifiable",
        "the program looks for 'post' in a Mock",
        None,
    ),
    (DOUBLE, {"test": "def check(f): assert f(2)", "entry_point": "a b"}, "unverifiable", "is no name", None),
    (DOUBLE, {"test": "def check(f): assert f(2)", "entry_point": "halve"}, "error", "does not define halve", 0.0),
    ("print(1 / 0)", [("", "1")], "error", "ZeroDivisionError: division by zero", 0.0),
    ("print(2)", [("", "2"), ("", "3")], "failed", "test 2 of 2: printed '2', expected '3'", 0.5),
    ("import numpy_like", [("", "2")], "unverifiable", "No module named 'numpy_like'", None),
    (
        "def f(a): return a + 1",
        {"fn_name": "f", "inputs": [[1], [2]], "outputs": [2, 4]},
        "failed",
        "test 2 of 2: f(2) == 4: got 3",
        0.5,
    ),
    ("def f(a): return {1}", {"fn_name": "f", "inputs": [[1]], "outputs": [{2}]}, "failed", "got {1}", 0.0),
    (
        "def f(a): return a",
        {"fn_name": "f", "inputs": [[object()]], "outputs": [2]},
        "unverifiable",
        "hold a object",
        None,
    ),
]


@pytest.mark.parametrize(("code", "tests", "status", "reason", "score"), REASONS)
def test_the_reason_says_what_happened(
    code: str, tests: Any, status: str, reason: str, score: float | None, strongest: LocalSandbox
) -> None:
    outcome = strongest.run_blocking(code, tests, timeout=20)
    assert outcome.status == status, outcome
    assert reason in outcome.reason
    assert outcome.score == score


def test_a_little_of_what_is_printed_is_kept(strongest: LocalSandbox) -> None:
    code = "print('first')\ndef f():\n    print('x' * 20_000)\n    return 1"
    outcome = strongest.run_blocking(code, "assert f() == 1")
    assert outcome.status == "passed"
    assert outcome.stdout.startswith("first\nxxx")
    assert len(outcome.stdout) == 8192


def test_an_outcome_is_right_wrong_or_cannot_tell() -> None:
    assert [Outcome(status).passed for status in ("passed", "failed", "timeout")] == [True, False, False]
    assert [Outcome(status).passed for status in ("unverifiable", "sandbox_error")] == [None, None]


lines = st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n\r\f\v\x1c\x1d\x1e\x85"), max_size=5))


@given(lines, st.text(" \t", max_size=3), st.integers(0, 3))
def test_white_space_at_the_ends_does_not_count(texts: list[str], ends: str, blank: int) -> None:
    printed = "\n".join(texts)
    assert agree("\n".join(text + ends for text in texts) + "\n" * blank, printed)
    assert agree(printed.replace("\n", "\r\n"), printed)


@pytest.mark.parametrize(
    ("printed", "expected"), [("1 2", "12"), ("1\n\n2", "1\n2"), (" 1", "1"), ("1", "1.0"), ("yes", "YES"), ("", "0")]
)
def test_anything_else_does(printed: str, expected: str) -> None:
    assert not agree(printed, expected)
