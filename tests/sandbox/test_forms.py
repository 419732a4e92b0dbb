"""Tests come in many forms; here they become one of three, or there is a reason why not."""

from __future__ import annotations

import json

import pytest

from cot_distill.sandbox.forms import Calls, Nothing, Programs, Script, named_in, normalised

CHECK = "def check(candidate):\n    assert candidate(1) == 1"


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ("assert f(1)", Script(("assert f(1)",))),
        (["assert f(1)", "assert f(2)"], Script(("assert f(1)", "assert f(2)"))),
        ({"test": CHECK, "entry_point": "f"}, Script((CHECK,), "f")),
        ({"test_list": ["assert f(1)"], "test_setup_code": "", "challenge_test_list": []}, Script(("assert f(1)",))),
        (
            {"test_list": ["assert f(N)"], "test_setup_code": "N = 1", "test_imports": ["import math"]},
            Script(("import math\nN = 1\nassert f(N)",)),
        ),
        ('["assert f(1)"]', Script(("assert f(1)",))),
        ("[f(x) for x in range(3)]", Script(("[f(x) for x in range(3)]",))),
        ([("1", "2")], Programs((("1", "2"),))),
        ([["1", "2"], ["3", "4"]], Programs((("1", "2"), ("3", "4")))),
        ([{"input": "1", "output": "2", "testtype": "stdin"}], Programs((("1", "2"),))),
        ({"inputs": ["1", "3"], "outputs": ["2", "4"]}, Programs((("1", "2"), ("3", "4")))),
        ({"input": "1", "output": "2"}, Programs((("1", "2"),))),
        ({"inputs": [["1", "2"]], "outputs": [["3"]]}, Programs((("1\n2", "3"),))),
        (json.dumps({"inputs": ["1"], "outputs": ["2"]}), Programs((("1", "2"),))),
        ({"tests": [{"input": "", "output": ""}]}, Programs((("", ""),))),
        ({"fn_name": "f", "inputs": [[1, 2]], "outputs": [[3]]}, Calls("f", (([1, 2], [3]),), wrapped=True)),
        ({"fn_name": "f", "inputs": ["1\n[2]"], "outputs": ["3"]}, Calls("f", (([1, [2]], 3),))),
        ({"tests": '[{"input": "1", "output": "2"}]', "func_name": "f"}, Calls("f", (([1], 2),))),
        ({"tests": [{"input": [1], "output": 2}], "entry_point": "f"}, Calls("f", (([1], 2),), wrapped=True)),
    ],
)
def test_each_form_is_known(tests: object, expected: object) -> None:
    assert normalised(tests) == expected


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        (None, "no tests"),
        ("", "no tests"),
        (" \n", "no tests"),
        ([], "no tests"),
        ({}, "no tests"),
        ("[]", "no tests"),
        ({"inputs": [], "outputs": []}, "no tests"),
        ({"entry_point": "f"}, "no tests among entry_point"),
        ({"inputs": ["1"], "outputs": []}, "as many inputs as outputs"),
        ({"inputs": "1", "outputs": "2"}, "two lists"),
        ([1, 2], "must be Python, or an input and an output"),
        (["assert f(1)", 2], "must be Python"),
        (7, "type int"),
        ({"inputs": [[1]], "outputs": [2]}, "fn_name names no function"),
        ({"inputs": ["x"], "outputs": ["2"], "fn_name": "f"}, "no JSON"),
        ({"inputs": [1], "outputs": [2], "fn_name": "f"}, "must be a list"),
        ({"inputs": [[1]], "outputs": [2], "fn_name": "f()"}, "names no function"),
    ],
)
def test_what_is_no_test_has_a_reason(tests: object, reason: str) -> None:
    found = normalised(tests)
    assert isinstance(found, Nothing)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("tests", "names"),
    [
        ("assert double(2) == 4 and half(Box(3).size) # not this\n'or that'", {"double", "half", "Box"}),
        ('"""Tests of nothing"""\ndef test_it():\n    found = f(g="x y")\n    assert found', {"f", "g", "found"}),
        (["assert f(1)", "assert g(2)"], {"f", "g"}),
        ({"test": CHECK, "entry_point": "Solution().f"}, {"Solution"}),
        ({"fn_name": "f", "inputs": [[1]], "outputs": [2]}, {"f", "Solution"}),
        ([("1", "2")], set()),
        ("", set()),
    ],
)
def test_the_names_that_tests_use(tests: object, names: set[str]) -> None:
    assert named_in(normalised(tests)) == names
