"""Reading the source of tests: which names they use, what in them is a test, and asserts that say what they saw.

Pure functions of syntax trees. Rewritten tests do what they did; but comparisons, ``type()`` and ``id()`` go through
functions that know stubs, since Python lets no object have a say in ``is``, and that remember what was compared.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "CHAIN",
    "COMPARE",
    "ID",
    "SIDES",
    "TRUTH",
    "TURN",
    "TYPE",
    "Facts",
    "bound_names",
    "calls",
    "facts_of",
    "is_setup",
    "rewritten",
]

# Names that no source can hold.
CHAIN, COMPARE, ID, SIDES = "@chain", "@compare", "@id", "@sides"
TRUTH, TURN, TYPE = "@truth", "@turn", "@type"

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SETUP = (*_FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Pass)
_ABOUT = {"type": TYPE, "id": ID}
"""Functions that look at an object itself, whatever it says of itself."""
_PLACED = {ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr}
_PLACED_NAMES = {"super", "locals", "vars", "dir", "eval", "exec"}
"""What has another meaning within a function."""
_UNHEARD = {"assertWarns", "assertWarnsRegex", "assertLogs", "assertNoLogs", "catch_warnings"}
"""What listens for something that does not cross."""
_MOCKS = {"mock", "unittest", "unittest.mock"}


@dataclass
class Facts:
    """What can be seen of tests without running them."""

    used: set[str] = field(default_factory=set)
    """Names that are read anywhere."""
    loops: bool = False
    """Whether anything is asserted in a loop."""
    asserts: bool = False
    """Whether anything can fail there: an assert, a raise, or a call of something that says "assert"."""
    replaces: str | None = None
    """Why they cannot be used: what they replace does not reach the program, or they listen for what cannot cross."""


def facts_of(tree: ast.AST) -> Facts:
    """Look at tests once."""
    facts, mocks, patches = Facts(), False, False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                facts.used.add(node.id)
        elif isinstance(node, ast.Call):
            name = _called(node)
            facts.asserts = facts.asserts or "assert" in name.lower() or name == "raises"
        elif isinstance(node, ast.Assert | ast.Raise):
            facts.asserts = True
            facts.loops = facts.loops or (isinstance(node, ast.Assert) and _each(node.test) is not None)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.While):
            facts.loops = facts.loops or _has_checks(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            mocks = mocks or bool(names & _MOCKS)
            patches = patches or "patch" in names
        elif isinstance(node, ast.Attribute):
            patches = patches or node.attr == "patch"
            if node.attr in _UNHEARD:
                facts.replaces = f"{node.attr} hears nothing of what the program warns of or logs"
            if isinstance(node.ctx, ast.Store) and node.attr in ("stdin", "argv"):
                facts.replaces = f"they replace sys.{node.attr}"
    if mocks and patches:
        facts.replaces = "they patch what the program uses"
    return facts


def bound_names(body: list[ast.stmt]) -> set[str]:
    """Names that statements bind where they stand: in the module, if they are its body."""
    return {name for statement in body for name in _bound(statement)}


def calls(statement: ast.stmt, name: str) -> bool:
    """Whether a statement calls a function of this name."""
    found = (node.func for node in ast.walk(statement) if isinstance(node, ast.Call))
    return any(isinstance(function, ast.Name) and function.id == name for function in found)


def is_setup(statement: ast.stmt) -> bool:
    """Whether a statement of a module prepares for the tests and is none itself."""
    return isinstance(statement, _SETUP) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def rewritten(tree: ast.Module, pairs: list[tuple[ast.expr, ast.expr]]) -> ast.Module:
    """Return the tree with comparisons, asserts, ``type()`` and ``id()`` passed through functions.

    Args:
        tree: The tests; they are changed.
        pairs: Takes the two sides of each comparison, which has its place there for a number.
    """
    return ast.fix_missing_locations(_Rewriter(pairs).visit(tree))  # type: ignore[no-any-return]


class _Rewriter(ast.NodeTransformer):
    def __init__(self, pairs: list[tuple[ast.expr, ast.expr]]) -> None:
        self._pairs = pairs
        self._each: list[ast.AST] = []
        """Comprehensions each of whose items is a check."""
        self._in_class = False
        """Directly in the body of a class, whose names are hidden from functions there."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        place = (node.test.lineno, node.test.col_offset, node.test.end_lineno, node.test.end_col_offset)
        test, where = node.test, ast.Constant(place)  # type: ignore[arg-type] # a tuple is one, too
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            test = self._compare(test, where)
        else:
            each = _each(test)
            self._each += [] if each is None else [each]
            turned = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
            value = self.visit(test.operand if turned and isinstance(test, ast.UnaryOp) else test)
            flags = [ast.Constant(each is None), ast.Constant(turned)]
            test = _call(TRUTH, where, *flags, *self._sides(value, ast.Constant(None)))
        message = None if node.msg is None else self.visit(node.msg)
        return ast.copy_location(ast.Assert(test, message), node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) == 1:
            return ast.copy_location(self._compare(node, ast.Constant(None)), node)
        self.generic_visit(node)
        if not any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            return node
        names = ast.Constant(tuple(type(op).__name__ for op in node.ops))  # type: ignore[arg-type]
        return ast.copy_location(_call(CHAIN, names, node.left, *node.comparators), node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp | ast.ListComp) -> ast.AST:
        self.generic_visit(node)
        if node in self._each:
            node.elt = _call(TURN, node.elt)
        return node

    visit_ListComp = visit_GeneratorExp  # noqa: N815

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = _called(node)
        if isinstance(node.func, ast.Name) and name in _ABOUT and len(node.args) == 1 and not node.keywords:
            return ast.copy_location(_call(_ABOUT[name], *node.args), node)
        first = node.args[:2]
        if "assert" in name.lower() and len(first) == 2 and not any(isinstance(arg, ast.Starred) for arg in first):
            sides = ast.Starred(_call(SIDES, *self._sides(*first)), ast.Load())
            node.args[:2] = [ast.copy_location(sides, node)]
        return node

    def visit_For(self, node: ast.For | ast.AsyncFor | ast.While) -> ast.AST:
        asserts = _has_checks(node)
        self.generic_visit(node)
        if asserts:
            node.body.insert(0, ast.copy_location(ast.Expr(_call(TURN, ast.Constant(None))), node))
        return node

    visit_AsyncFor = visit_While = visit_For  # noqa: N815 - the base class's names

    def _compare(self, node: ast.Compare, where: ast.Constant) -> ast.Call:
        left, right = self.visit(node.left), self.visit(node.comparators[0])
        operator = ast.Constant(type(node.ops[0]).__name__)
        return _call(COMPARE, where, operator, *self._sides(left, right))

    def _sides(self, left: ast.expr, right: ast.expr) -> list[ast.expr]:
        """The number of a comparison, whether its sides are given as functions, and the sides."""
        self._pairs.append((left, right))
        number = ast.Constant(len(self._pairs) - 1)
        nodes = [node for side in (left, right) for node in ast.walk(side)]
        kinds = {type(node) for node in nodes}
        is_placed = kinds & _PLACED or any(isinstance(node, ast.Name) and node.id in _PLACED_NAMES for node in nodes)
        if self._in_class or ast.Subscript not in kinds or is_placed:
            return [number, ast.Constant(False), left, right]
        # What takes an item may raise in a second run, where the value is as it was.
        return [number, ast.Constant(True), _later(left), _later(right)]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._within(node, in_class=True)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        return self._within(node, in_class=False)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def _within(self, node: ast.AST, *, in_class: bool) -> ast.AST:
        before, self._in_class = self._in_class, in_class
        self.generic_visit(node)
        self._in_class = before
        return node


def _later(side: ast.expr) -> ast.expr:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(nothing, side)


def _each(test: ast.expr) -> ast.expr | None:
    """The comprehension of ``all(… for …)`` or ``not any(… for …)``, which says nothing where it is empty."""
    test = test.operand if isinstance(test, ast.UnaryOp) else test
    if isinstance(test, ast.Call) and _called(test) in ("all", "any") and len(test.args) == 1:
        (each,) = test.args
        return each if isinstance(each, ast.GeneratorExp | ast.ListComp) else None
    return None


def _has_checks(tree: ast.AST) -> bool:
    checks = (isinstance(node, ast.Call) and "assert" in _called(node).lower() for node in ast.walk(tree))
    return any(checks) or any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(tree))


def _called(node: ast.Call) -> str:
    """The name of the function or method that is called."""
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _call(name: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(args), [])


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        yield statement.name
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            yield alias.asname or alias.name.partition(".")[0]
        return
    for part in ast.iter_child_nodes(statement):
        if isinstance(part, ast.stmt):
            yield from _bound(part)
        elif isinstance(part, ast.ExceptHandler | ast.match_case):
            yield from (name for inner in part.body for name in _bound(inner))
        else:
            stored = (node for node in ast.walk(part) if isinstance(node, ast.Name))
            yield from (node.id for node in stored if isinstance(node.ctx, ast.Store))
