"""Tests that are Python: asserts, ``check(candidate)``, test functions and classes."""

from __future__ import annotations

import ast
import builtins
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from .collecting import collected
from .findings import Finding, explain
from .rewriting import Facts, bound_names, calls, facts_of, is_setup, rewritten
from .stubs import SpoiledError, module_stub
from .tests_end import TestsEnd
from .watching import Watch

__all__ = ["Script"]

_FILE = "tests.py"
_CANDIDATE = "candidate"


class Script:
    """Runs tests against stubs of the program.

    Args:
        end: The line to the program.
        sources: Python. Each of several is one test; of a single one, each statement that is no setup.
        entry_point: The function that is tested, or a method as in ``Solution().solve``; None: the last function
            of the program, where it matters.
    """

    def __init__(self, end: TestsEnd, sources: list[str], entry_point: str | None) -> None:
        self._end = end
        self._sources = sources
        self._entry_point = entry_point
        self._watch = Watch(end)
        self._bound: set[str] = set()
        module = sys.modules["tests"] = types.ModuleType("tests")
        self._space: dict[str, Any] = vars(module)
        self._space.update(self._watch.functions)

    def findings(self) -> Iterator[Finding]:
        """What is found, test by test."""
        try:
            trees = [ast.parse(source, _FILE) for source in self._sources]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            yield Finding("unverifiable", f"the tests are no Python: {type(error).__name__}: {error}", counts=False)
            return
        whole = ast.Module([statement for tree in trees for statement in tree.body], [])
        self._bound = bound_names(whole.body)
        check = _has_check(whole)
        facts = facts_of(whole)
        trouble = facts.replaces if check or facts.asserts else "there is nothing in them that can fail"
        if trouble:
            yield Finding("unverifiable", f"the tests cannot be used: {trouble}", counts=False)
            return
        yield from self._all(trees, facts, check=check)
        if not self._end.asked:
            yield Finding("unverifiable", "the tests never used the program", counts=False)

    def _all(self, trees: list[ast.Module], facts: Facts, *, check: bool) -> Iterator[Finding]:
        needs_entry = check or _CANDIDATE in facts.used - self._bound
        trouble = self._run(lambda: self._look_up(facts, needs_entry=needs_entry))
        if trouble is not None:
            yield trouble
            return
        if len(trees) == 1:
            self._watch.source = self._sources[0]
            for statement in rewritten(trees[0]).body:
                found = self._execute([statement])
                if not is_setup(statement):
                    yield found or Finding("passed", "")
                elif found is not None:
                    yield found
                    return
        else:
            for number, tree in enumerate(trees, start=1):
                self._watch.source = self._sources[number - 1]
                found = self._execute(rewritten(tree).body) or Finding("passed", "")
                yield found._replace(reason=found.reason and f"test {number} of {len(trees)}: {found.reason}")
        if check:
            yield self._run(lambda: self._space["check"](self._space[_CANDIDATE])) or Finding("passed", "")
        for name, run in collected(self._space):
            found = self._run(run) or Finding("passed", "")
            yield found._replace(reason=found.reason and f"{name}: {found.reason}")

    def _execute(self, statements: list[ast.stmt]) -> Finding | None:
        code = compile(ast.Module(statements, []), _FILE, "exec", dont_inherit=True)
        return self._run(lambda: exec(code, self._space))  # noqa: S102 - what a sandbox is for

    def _run(self, run: Callable[[], object]) -> Finding | None:
        return explain(run, self._end, self._watch, self._bound)

    def _look_up(self, facts: Facts, *, needs_entry: bool) -> None:
        """Put stubs in the place of what the tests use and do not define."""
        sys.modules["solution"] = module_stub(types.ModuleType("solution"), self._end.names)
        entry = self._entry_point or ""
        used = facts.used - self._bound
        wanted = sorted({name for name in used if not hasattr(builtins, name)} | set(re.findall(r"^\w+", entry)))
        found = self._end.names(wanted)
        if not found and not entry:
            # A function that is called like a builtin. Only where it can be no other: a program must not replace
            # what the tests compare with.
            found = self._end.names(sorted(used & facts.called))
            if len(found) > 1:
                raise SpoiledError("unverifiable", f"which of {', '.join(found)} is tested? Give the entry point")
        self._end.asked += any(not hasattr(type(value), "_stub_") for value in found.values())
        self._space.update(found)
        if needs_entry and (entry or _CANDIDATE not in found):
            self._space[_CANDIDATE] = self._entry(found, entry)

    def _entry(self, found: dict[str, Any], entry: str) -> Any:
        """What is tested: a function or a method."""
        if not entry:
            entry = self._end.ask("last")
            if type(entry) is not str or not entry:
                raise SpoiledError("error", "the program defines no function")
            found = self._end.names([entry])
        parts = re.fullmatch(r"(\w+)(\(\))?(?:\.(\w+))?", entry)
        if parts is None:
            raise SpoiledError("unverifiable", f"the entry point {entry!r} is no name")
        if parts[1] not in found:
            raise SpoiledError("error", f"the program does not define {parts[1]}")
        value = found[parts[1]]() if parts[2] else found[parts[1]]
        return getattr(value, parts[3]) if parts[3] else value


def _has_check(whole: ast.Module) -> bool:
    """Whether there is a ``check(candidate)`` that the tests do not call themselves."""
    defined = any(
        isinstance(node, ast.FunctionDef) and node.name == "check" and node.args.args for node in whole.body
    )
    return defined and not any(calls(node, "check") for node in whole.body if not is_setup(node))
