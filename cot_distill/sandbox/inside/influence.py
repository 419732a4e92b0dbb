"""Which expressions of tests hold what the program says, as far as their source tells.

Names are followed through assignments, loops, parameters and attributes until nothing new is found, without regard to
order or scope. So it errs to one side only: an expression that is said to be free of the program is free of it.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from typing import TypeGuard

__all__ = ["Influence", "all_bound"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_READS = {"open", "read", "read_text", "read_bytes", "readline", "readlines", "getvalue"}
_READS |= {"exists", "isfile", "isdir", "is_file", "is_dir", "listdir", "scandir", "iterdir", "glob", "walk", "stat"}
_READS |= {"mock_calls", "method_calls", "called", "call_args", "call_args_list", "call_count", "__dict__"}
"""What gives things that the program may have written."""
_REACHES = {"open", "globals", "locals", "vars", "eval", "exec", "getattr"}
"""What gives things that are not named there."""
_BUILTINS = {name for name in vars(builtins) if name not in ("setattr", "exec", "eval")}


class Influence:
    """What of a module of tests depends on the program.

    Args:
        tree: The tests.
        names: Those that stand for the program and what is in it.
    """

    def __init__(self, tree: ast.AST, names: set[str]) -> None:
        self._names = set(names)
        self._attributes: set[str] = set()
        self._nodes = list(ast.walk(tree))
        self._functions: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
        self._assigned: dict[str, list[ast.expr]] = {}
        self._followed: list[ast.AST] = []
        for node in self._nodes:
            if isinstance(node, _FUNCTIONS):
                self._functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.Assign | ast.NamedExpr):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        self._assigned.setdefault(target.id, []).append(node.value)
        before = -1
        while before != (before := len(self._names) + len(self._attributes)):
            for node in self._nodes:
                self._follow(node)

    def on(self, part: ast.AST, *, indices: bool = True) -> bool:
        """Whether a piece of the tests may hold what the program says.

        Args:
            part: The piece.
            indices: Whether that counts in which item is taken of something.
        """
        left: list[ast.AST] = [part]
        while left:
            node = left.pop()
            if isinstance(node, ast.Name) and node.id in self._names:
                return True
            if isinstance(node, ast.Constant) and node.value == "solution":
                return True
            if isinstance(node, ast.Attribute) and (node.attr in self._attributes or node.attr in _READS):
                return True
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _REACHES:
                return True
            if isinstance(node, ast.Subscript) and not indices:
                left.append(node.value)
            else:
                left += ast.iter_child_nodes(node)
        return False

    def _follow(self, node: ast.AST) -> None:
        decides = _what_decides(node)
        if any(map(self.on, decides)):
            self._follow_effects(node)
        if isinstance(node, ast.Assign):
            self._pass_on(node.value, *node.targets)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
            if node.value is not None:
                self._pass_on(node.value, node.target)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._pass_on(node.iter, node.target)
        elif isinstance(node, ast.With | ast.AsyncWith):
            if self.on(node):  # as in `with assertRaises(ValueError) as caught: double(None)`
                for item in node.items:
                    self._mark(item.optional_vars)
        elif isinstance(node, ast.ExceptHandler):
            self._names.update({node.name} if node.name else ())
        elif isinstance(node, ast.Match):
            found = {getattr(part, "name", None) or getattr(part, "rest", None) for part in ast.walk(node)}
            self._names.update(name for name in found if isinstance(name, str) and self.on(node.subject))
        elif isinstance(node, _FUNCTIONS):
            if any(self.on(part) for part in (*node.body, *node.decorator_list)):
                self._names.add(node.name)
                self._attributes.add(node.name)
            if node.decorator_list or any(
                self.on(part) for part in (*node.args.defaults, *node.args.kw_defaults) if part
            ):
                self._names.update(_parameters(node.args))
        elif isinstance(node, ast.ClassDef):
            if any(map(self.on, node.body)):
                self._names.add(node.name)
                bound = {part.id for statement in node.body for part in ast.walk(statement) if _is_stored(part)}
                self._attributes.update(bound & self._names)
        elif isinstance(node, ast.Call):
            self._follow_call(node)

    def _follow_call(self, node: ast.Call) -> None:
        given = [part for arg in [*node.args, *(keyword.value for keyword in node.keywords)] for part in _parts(arg)]
        own = self._functions.get(node.func.id, ()) if isinstance(node.func, ast.Name) else ()
        if not own and self.on(node.func):
            for part in given:
                self._hand_over(part)
        if any(map(self.on, given)):
            for part in (node.func, *given):  # also as in `map(look, double(2))`
                self._take_any(part)
            if isinstance(node.func, ast.Attribute) and not _is_check(node.func.attr):
                self._mark(node.func.value)
            if not _keeps_nothing(node.func):
                for part in given:  # as in `heappush(found, double(2))`
                    self._mark(part)

    def _take_any(self, part: ast.expr) -> None:
        """Take notice that a function is called with what the program said."""
        values = self._assigned.get(part.id, ()) if isinstance(part, ast.Name) else ()
        for function in (*self._functions.get(_last_name(part), ()), *values, part):
            if isinstance(function, (*_FUNCTIONS, ast.Lambda)):
                self._names.update(_parameters(function.args))

    def _hand_over(self, part: ast.expr) -> None:
        """Follow what the program is given: a function, which may be called with anything, any number of times."""
        if isinstance(part, ast.Lambda):
            self._names.update(_parameters(part.args))
            self._follow_effects(part)
            return
        if part in self._followed:
            return
        self._followed.append(part)
        if isinstance(part, ast.Call):  # of a function that is a generator, say
            if _last_name(part.func) == "partial":
                for arg in part.args:
                    self._mark(arg)
                    self._hand_over(arg)
            part = part.func
        if isinstance(part, ast.Attribute):
            self._mark(part.value)
        for value in self._assigned.get(part.id, ()) if isinstance(part, ast.Name) else ():
            for inner in _parts(value):
                self._hand_over(inner)
        for name in (_last_name(part), "__call__", "__next__", "__iter__"):
            for function in self._functions.get(name, ()):
                self._names.update(_parameters(function.args))
                self._follow_effects(function)

    def _follow_effects(self, function: ast.AST) -> None:
        """Take notice of all that a function changes."""
        if function in self._followed:
            return
        self._followed.append(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._mark(target)
            elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
                self._mark(node.target)
            elif isinstance(node, ast.Delete):
                for target in node.targets:
                    self._mark(target)
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute):
                    self._mark(node.func.value)
                for inner in self._functions.get(_last_name(node.func), ()):
                    self._follow_effects(inner)

    def _pass_on(self, value: ast.AST, *targets: ast.AST) -> None:
        if self.on(value):
            for target in targets:
                self._mark(target)

    def _mark(self, target: ast.AST | None) -> None:
        """Take notice that something that the program said is put there."""
        if isinstance(target, ast.Name):
            if target.id not in ("self", "cls"):
                self._names.add(target.id)
        elif isinstance(target, ast.Attribute):
            self._attributes.add(target.attr)
        elif isinstance(target, ast.Subscript | ast.Starred):
            self._mark(target.value)
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self._mark(part)


def all_bound(tree: ast.AST) -> set[str]:
    """Every name that tests bind anywhere: also parameters, and what is local to a function or comprehension."""
    return {name for node in ast.walk(tree) for name in _bound(node)}


def _bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        if node.name:
            yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def _parameters(arguments: ast.arguments) -> set[str]:
    return {node.arg for node in ast.walk(arguments) if isinstance(node, ast.arg)} - {"self", "cls"}


def _parts(given: ast.expr) -> list[ast.expr]:
    """What is given to a function: also what a list or the like holds."""
    if isinstance(given, ast.Starred):
        return _parts(given.value)
    if isinstance(given, ast.Tuple | ast.List | ast.Set | ast.Dict):
        inner = given.values if isinstance(given, ast.Dict) else given.elts
        return [given, *(part for one in inner for part in _parts(one))]
    return [given]


def _last_name(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _what_decides(node: ast.AST) -> list[ast.AST]:
    """What decides whether and how often the statements in a statement are executed."""
    if isinstance(node, ast.If | ast.While):
        return [node.test]
    if isinstance(node, ast.For | ast.AsyncFor):
        return [node.iter]
    if isinstance(node, ast.Match):
        return [node.subject]
    return [*node.body] if isinstance(node, ast.Try | ast.TryStar) else []


def _is_stored(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _keeps_nothing(function: ast.expr) -> bool:
    """Whether a function is known not to put one of its arguments into another: checks, and what only computes."""
    name = _last_name(function)
    is_math = isinstance(function, ast.Attribute) and _last_name(function.value) == "math"
    return is_math or _is_check(name) or name in _BUILTINS or name.startswith("@")  # as rewritten tests call them


def _is_check(name: str) -> bool:
    return "assert" in name.lower() or name == "fail"
