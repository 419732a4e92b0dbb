"""Programs that change what they are given: where it is what was asked for, and where it would fool the tests."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.sandbox import LocalSandbox

EMPTIES = "def ordered(items): items.clear(); return []"
TAKES = "def count(items): items.clear(); return 0"
IN_PLACE = "def sort(items): items.clear()"
EACH = "def each(items, function): items.clear()"
CASES = "import unittest\nclass Cases(unittest.TestCase):\n def test_it(self):\n  items = [3, 1, 2]\n"

FAKES: dict[str, tuple[str, str]] = {
    "compared at once": (EMPTIES, "assert ordered(items) == sorted(items)"),
    "compared with a later value": (
        EMPTIES,
        "found = ordered(items)\nwanted = sorted(items)\nassert found == wanted",
    ),
    "in a function": (EMPTIES, "def test_it():\n found = ordered(items)\n assert found == sorted(items)"),
    "the other way round": (EMPTIES, "found = ordered(items)\nassert sorted(items) == found"),
    "beside another condition": (EMPTIES, "found = ordered(items)\nassert found == sorted(items) and len(found) < 9"),
    "compared with True": (EMPTIES, "assert (ordered(items) == sorted(items)) == True"),
    "kept as a truth": (EMPTIES, "found = ordered(items)\nright = found == sorted(items)\nassert right is True"),
    "by if and raise": (EMPTIES, "if ordered(items) != sorted(items): raise AssertionError"),
    "by match": (EMPTIES, "match ordered(items) == sorted(items):\n case False: raise AssertionError"),
    "by pairs": (EMPTIES, "for one, other in zip(ordered(items), sorted(items)): assert one == other"),
    "by all": (EMPTIES, "assert all(one == other for one, other in zip(ordered(items), sorted(items)))"),
    "by length and pairs": (
        EMPTIES,
        "found = ordered(items)\nassert len(found) == len(items)\nassert all(map(int.__eq__, found, items))",
    ),
    "item by item": ("def ordered(items): items[:] = [0]; return [0]", "assert ordered(items)[0] == min(items)"),
    "by its own argument": (
        "def ordered(items): items.clear(); return items",
        "assert ordered(items) == sorted(items)",
    ),
    "by a helper": (EMPTIES, "def same(one, other): assert one == other\nsame(ordered(items), sorted(items))"),
    "by a reference": (
        EMPTIES,
        "def right(items): return sorted(items)\nfound = ordered(items)\nassert found == right(items)",
    ),
    "in a loop": (EMPTIES, "for items in ([3, 1], [2, 1]): assert ordered(items) == sorted(items)"),
    "by unittest": (EMPTIES, CASES + "  self.assertEqual(ordered(items), sorted(items))"),
    "by unittest, in any order": (EMPTIES, CASES + "  self.assertCountEqual(ordered(items), items)"),
    "by unittest, with names": (EMPTIES, CASES + "  self.assertEqual(first=ordered(items), second=sorted(items))"),
    "by a difference": (TAKES, "assert abs(count(items) - sum(items)) < 1e-6"),
    "by isclose": (
        TAKES,
        "import math\nfound = count(items)\nassert math.isclose(found, sum(items) / max(1, len(items)))",
    ),
    "with a keyword": (TAKES, "assert count(items=items) == sum(items)"),
    "in two calls": (TAKES + "\ndef start(items): items.clear()", "start(items)\nassert count(items) == len(items)"),
    "by an object": (
        "class Counter:\n def __init__(self, items): items.clear()\n def total(self): return 0",
        "counter = Counter(items)\nassert counter.total() == sum(items)",
    ),
    "under another name": (TAKES, "same = items\nassert count(same) == sum(items)"),
    "inside another list": ("def total(lists): lists[0].clear(); return 0", "assert total([items]) == sum(items)"),
    "kept in a list": (TAKES, "found = []\nfound.append(count(items))\nassert found == [sum(items)]"),
    "kept by a function": (
        TAKES,
        "import heapq\nheap = []\nheapq.heappush(heap, count(items))\nassert heap[0] == sum(items)",
    ),
    "kept in an attribute": (
        TAKES,
        "class Box: pass\nbox = Box()\nsetattr(box, 'found', count(items))\nassert box.found == sum(items)",
    ),
    "kept as a default": (TAKES, "found = count(items)\ndef look(value=found): assert value == sum(items)\nlook()"),
    "looked up by name": (TAKES, "found = count(items)\nassert globals()['found'] == sum(items)"),
    "in place": (IN_PLACE, "sort(items)\nassert items == sorted(items)"),
    "in place, with a later value": (IN_PLACE, "sort(items)\nwanted = sorted(items)\nassert items == wanted"),
    "in place, as a truth of its own": (IN_PLACE, "sort(items)\nright = items == sorted(items)\nassert right"),
    "in place, as a truth": (IN_PLACE, "sort(items)\nassert (items == sorted(items)) is True"),
    "by a callback": (EACH, "seen = []\neach(items, seen.append)\nassert seen == items"),
    "by a count of calls": (EACH, "seen = []\neach(items, lambda _: seen.append(1))\nassert len(seen) == len(items)"),
    "by a named callback": (
        EACH,
        "seen = [0]\ndef tick(_): seen[0] += 1\ncall = tick\neach(items, call)\nassert seen[0] == len(items)",
    ),
    "by a callable object": (
        EACH,
        "class Log:\n def __init__(self): self.seen = []\n def __call__(self, item): self.seen.append(item)\n"
        "log = Log()\neach(items, log)\nassert log.seen == items",
    ),
    "by a mock": (
        EACH,
        "from unittest.mock import Mock\ncall = Mock()\neach(items, call)\nassert call.call_count == len(items)",
    ),
    "by what a class holds": (TAKES, "class Box: found = count(items)\nassert Box.found == len(items)"),
    "by what a class does": (
        TAKES,
        "class Box:\n def __len__(self): return count(items)\nassert len(Box()) == len(items)",
    ),
    "by a helper that is handed over": (
        TAKES,
        "def look(found): assert found == len(items)\nlist(map(look, [count(items)]))",
    ),
    "by way of sys.modules": (
        TAKES,
        "import sys\nmodule = sys.modules['solution']\nfound = module.count(items)\nassert found == len(items)",
    ),
    "by a count of turns": (EMPTIES, "count = 0\nfor item in ordered(items): count += 1\nassert count == len(items)"),
    "by which way it goes": (
        TAKES,
        "found = [1]\nif not count(items): del found[0]\nassert len(found) == len(items)",
    ),
    "by an exception that is caught": (
        "def count(items): items.clear(); raise ValueError(0)",
        CASES + "  with self.assertRaises(ValueError) as caught: count(items)\n"
        "  self.assertEqual(caught.exception.args[0], len(items))",
    ),
    "by its files": (
        IN_PLACE,
        "import os\nsort(items)\nassert len([name for name in os.listdir('.') if 'item' in name]) == len(items)",
    ),
    "by what it prints": (
        IN_PLACE,
        "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as out: sort(items)\n"
        "assert out.getvalue() == ''.join(map(str, items))",
    ),
    "by what it raises": (
        "def count(items): items.clear(); raise ValueError(0)",
        "try: count(items)\nexcept ValueError as error: found = error.args[0]\nassert found == len(items)",
    ),
}


@pytest.mark.parametrize("name", FAKES)
def test_what_is_expected_is_computed_from_values_as_they_were(name: str, strongest: LocalSandbox) -> None:
    code, tests = FAKES[name]
    outcome = strongest.run_blocking(code, f"items = [3, 1, 2]\n{tests}", timeout=5)
    assert outcome.status == "unverifiable", outcome
    assert "changes its arguments" in outcome.reason or "compared nothing" in outcome.reason


SORT = "def sort(items): items.sort()"
SORTED = "def ordered(items): items.sort(); return items"

HONEST: dict[str, tuple[str, Any]] = {
    "a literal": (SORT, "sort(items)\nassert items == [1, 2, 3]\nassert [1, 2, 3] == items"),
    "a part, a count": (
        SORT,
        "sort(items)\nassert items[0] == 1 and len(items) == 3 and 2 in items and sum(items) == 6",
    ),
    "computed before": (SORT, "wanted = sorted(items)\nsort(items)\nassert items == wanted"),
    "computed after": (SORT, "sort(items)\nassert items == sorted(items)"),
    "computed from a copy": (SORT, "given = items[:]\nsort(given)\nassert given == sorted(items)"),
    "a table of cases": (
        SORT,
        "for given, wanted in [([2, 1], [1, 2]), ([], [])]:\n sort(given)\n assert given == wanted",
    ),
    "a helper": (SORT, "def look(given, wanted):\n sort(given)\n assert given == wanted\nlook([2, 1], [1, 2])"),
    "unittest": (SORT, CASES + "  sort(items)\n  self.assertEqual(items, [1, 2, 3])\n  self.assertIn(1, items)"),
    "check": (
        SORT,
        {"test": "def check(f):\n items = [2, 1]\n f(items)\n assert items == [1, 2]", "entry_point": "sort"},
    ),
    "returned as well": (SORTED, "assert ordered(items) == [1, 2, 3]\nassert ordered([5, 4]) == [4, 5]"),
    "returned, and computed after": (
        SORTED,
        "found = ordered(items)\nassert found == sorted(items)\nassert found is items",
    ),
    "by the way": (
        "def median(items): items.sort(); return items[len(items) // 2]",
        "import statistics\nassert median(items) == statistics.median(items) == 2",
    ),
    "the first few": (
        "def remove(items, value):\n kept = [item for item in items if item != value]\n items[:len(kept)] = kept\n"
        " return len(kept)",
        "left = remove(items, 3)\nassert left == 2 and items[:left] == [1, 2]",
    ),
    "filled": (
        "def fill(items, table):\n items.append(9); table['a'] = table.get('a', 0) + 1",
        "table = {}\nfill(items, table)\nfill(items, table)\nassert items[4] == 9 and items[3:] == [9, 9]\n"
        "assert table['a'] == 2 and 'a' in table",
    ),
    "a board": (
        "def move(board, row, column): board[row][column] = 'x'; return True",
        "board = [[' '] * 2 for _ in range(2)]\nassert move(board, 0, 1)\nassert board == [[' ', 'x'], [' ', ' ']]",
    ),
    "in a loop, twice": (
        SORTED,
        "for given in ([3, 1], [2, 5, 4]):\n wanted = sorted(given)\n assert ordered(given) == wanted\n"
        " assert given == wanted",
    ),
    "emptied": (
        "def drain(items):\n out = []\n while items: out.append(items.pop())\n return out",
        "assert drain(items) == [2, 1, 3]\nassert not items",
    ),
    "unchanged": (
        "def ordered(items): return sorted(items)",
        "assert ordered(items) == [1, 2, 3]\nassert items == [3, 1, 2]",
    ),
    "random data": (
        SORTED,
        "import random\nrandom.seed(7)\nfor _ in range(9):\n given = [random.randint(0, 99) for _ in range(9)]\n"
        " wanted = sorted(given)\n assert ordered(given) == wanted",
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_a_change_that_was_asked_for_passes(name: str, strongest: LocalSandbox) -> None:
    code, tests = HONEST[name]
    outcome = strongest.run_blocking(code, tests if isinstance(tests, dict) else f"items = [3, 1, 2]\n{tests}")
    assert outcome.status == "passed", outcome
    assert outcome.score == 1.0


@pytest.mark.parametrize(
    "tests",
    ["sort(items)\nassert not items", "sort(items)\nassert items == [9]", "sort([2, 1])\nassert items == [1, 2, 3]"],
)
def test_a_wrong_change_fails(tests: str, strongest: LocalSandbox) -> None:
    assert strongest.run_blocking(SORT, f"items = [3, 1, 2]\n{tests}").status == "failed"


def test_arguments_and_what_is_expected_of_them_may_be_one_list(strongest: LocalSandbox) -> None:
    one = [3, 1]
    tests = {"fn_name": "ordered", "inputs": [[one]], "outputs": [one]}
    assert strongest.run_blocking(EMPTIES, tests).status == "failed"
