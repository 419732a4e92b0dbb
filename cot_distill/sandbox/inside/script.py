"""Tests that are Python: asserts, ``check(candidate)``, test functions and classes."""

from __future__ import annotations

import ast
import functools
import random
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

from .collecting import collected
from .findings import Finding, explain, sum_up
from .influence import Influence
from .looking import Looks
from .naming import names_of, program_names
from .rewriting import bound_names, calls, facts_of, is_setup, rewritten
from .stubs import SpoiledError, module_stub
from .tests_end import TestsEnd
from .watching import Watch

__all__ = ["Script", "judged"]

_FILE = "tests.py"
_SEED = random.seed
_CANDIDATE = "candidate"


class Script:
    """Runs tests against stubs of the program.

    Args:
        end: The line to the program.
        sources: Python. Each of several is one test; of a single one, each statement that is no setup.
        entry_point: The function that is tested, or a method as in ``Solution().solve``; None: the last function
            of the program, where it matters.
        first: What was compared in a first run, if this is the second one.
    """

    def __init__(
        self, end: TestsEnd, sources: list[str], entry_point: str | None, first: Looks | None = None
    ) -> None:
        self._end = end
        self.looks = Looks(lambda: end.has_changed, first)
        self._sources = sources
        self._entry_point = entry_point
        self._watch = Watch(end, self.looks)
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
        needs_entry = check or _CANDIDATE in facts.used - self._bound
        yield from self._all(trees, whole, needs_entry=needs_entry, check=check)
        if not self._end.asked:
            yield Finding("unverifiable", "the tests never used the program", counts=False)
        elif facts.loops and not self._watch.checks:
            yield Finding("unverifiable", "the tests compared nothing: their loops came to no turn", counts=False)

    def _all(
        self, trees: list[ast.Module], whole: ast.Module, *, needs_entry: bool, check: bool
    ) -> Iterator[Finding]:
        trouble = self._run(lambda: self._look_up(whole, needs_entry=needs_entry))
        if trouble is not None:
            yield trouble
            return
        trees = [rewritten(_without_stars(tree), self.looks.pairs) for tree in trees]
        if len(trees) == 1:
            self._watch.source = self._sources[0]
            for statement in trees[0].body:
                found = self._execute([statement])
                if not is_setup(statement):
                    yield found or Finding("passed", "")
                elif found is not None:
                    yield found
                    return
                if self._end.is_lost:
                    return
        else:
            for number, tree in enumerate(trees, start=1):
                self._watch.source = self._sources[number - 1]
                found = self._execute(tree.body) or Finding("passed", "")
                yield found._replace(reason=found.reason and f"test {number} of {len(trees)}: {found.reason}")
                if self._end.is_lost:
                    return
        if check:
            yield self._run(lambda: self._space["check"](self._space[_CANDIDATE])) or Finding("passed", "")
        for name, run in collected(self._space, self._watch.same):
            found = self._run(run) or Finding("passed", "")
            yield found._replace(reason=found.reason and f"{name}: {found.reason}")
            if self._end.is_lost:
                return

    def _execute(self, statements: list[ast.stmt]) -> Finding | None:
        code = compile(ast.Module(statements, []), _FILE, "exec", dont_inherit=True)
        return self._run(lambda: exec(code, self._space))  # noqa: S102 - what a sandbox is for

    def _run(self, run: Callable[[], object]) -> Finding | None:
        return explain(run, self._end, self._watch, self._bound)

    def _look_up(self, whole: ast.Module, *, needs_entry: bool) -> None:
        """Put stubs in the place of what the tests use and do not define."""
        sys.modules["solution"] = module_stub(self._end.names, lambda *pair: self._end.ask("put", *pair))
        entry = self._entry_point or ""
        names = names_of(whole, entry=needs_entry or bool(entry))
        self.looks.influence = functools.cache(lambda: Influence(whole, program_names(whole, names.wanted)))
        # Never under a name of builtins or of the library: a program must not replace what the tests compare with.
        wanted = names.wanted | ({names.tested} if names.tested else set())
        helpers = {name for name, value in names.own.items() if isinstance(value, type)}
        found = self._end.names(sorted(wanted | helpers | set(re.findall(r"^\w+", entry))))
        for name in helpers & found.keys():
            if found[name] is not names.own[name]:
                reason = f"the program defines {name}, which the tests may mean to be that of the standard library"
                raise SpoiledError("unverifiable", reason)
        self._end.asked += any(not hasattr(type(value), "_stub_") for name, value in found.items() if name in wanted)
        self._space.update({name: value for name, value in found.items() if name in wanted})
        self._space.update(names.own)
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


def judged(end: TestsEnd, sources: list[str], entry_point: str | None) -> dict[str, Any]:
    """Run tests, twice if the program changed values of theirs; return the verdict.

    Args:
        end: The line to the program.
        sources: As in :class:`Script`.
        entry_point: As in :class:`Script`.
    """
    state = random.getstate()
    end_now = [end]

    def seed_both(a: Any = None, version: int = 2) -> None:
        """Tests that seed random numbers mean those of the program, too."""
        _SEED(a, version)
        if type(a) in (int, str, float):
            end_now[0].ask("seed", a)

    random.seed = seed_both
    script = Script(end, sources, entry_point)
    raised: list[BaseException | None] = []
    threading.excepthook = lambda args: raised.append(args.exc_value)
    found = sum_up(script.findings())
    if found["status"] == "passed" and raised:
        status = "failed" if isinstance(raised[0], AssertionError) else "unverifiable"
        return {**found, "status": status, "reason": f"in a thread of the tests: {raised[0]!r}"}
    if found["status"] != "passed" or not end.has_changed:
        return found
    random.setstate(state)
    end_now[0] = TestsEnd(-1, end)
    again = sum_up(Script(end_now[0], sources, entry_point, script.looks).findings())
    if again["status"] == "passed":
        return found
    reason = "the program changes its arguments, which may be what the expected values are computed from"
    return {**found, "status": "unverifiable", "reason": f"{reason} ({again['reason']})"}


def _without_stars(tree: ast.Module) -> ast.Module:
    """Tests without ``from solution import *``: they get the names that they use, not those that it chooses."""
    for node in ast.walk(tree):
        for body in (getattr(node, "body", None), getattr(node, "orelse", None), getattr(node, "handlers", None)):
            if isinstance(body, list):
                body[:] = [ast.copy_location(ast.Pass(), part) if _is_star(part) else part for part in body]
    return tree


def _is_star(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "solution" and node.names[0].name == "*"


def _has_check(whole: ast.Module) -> bool:
    """Whether there is a ``check(candidate)`` that the tests do not call themselves."""
    defined = any(
        isinstance(node, ast.FunctionDef) and node.name == "check" and node.args.args for node in whole.body
    )
    return defined and not any(calls(node, "check") for node in whole.body if not is_setup(node))
