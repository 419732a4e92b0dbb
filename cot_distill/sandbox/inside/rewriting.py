"""Reading the source of tests: which names they use, what in them is a test, and asserts that say what they saw.

Pure functions of syntax trees. Rewritten tests do what they did; but ``is`` and ``type()`` go through functions that
know stubs, since Python lets no object have a say there.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "ASKED",
    "COMPARE",
    "IS",
    "TRUTH",
    "TYPE",
    "Facts",
    "bound_names",
    "calls",
    "facts_of",
    "is_setup",
    "rewritten",
]

# Names that no source can hold.
ASKED, COMPARE, IS, TRUTH, TYPE = "@asked", "@compare", "@is", "@truth", "@type"

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SETUP = (*_FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Pass)
_ONCE = {"next", "pop", "popleft", "popitem", "read", "readline", "send", "random", "randint", "choice", "sample"}
"""Functions and methods that give something else when they are called again."""
_MOCKS = {"mock", "unittest", "unittest.mock"}


@dataclass
class Facts:
    """What can be seen of tests without running them."""

    used: set[str] = field(default_factory=set)
    """Names that are read anywhere."""
    called: set[str] = field(default_factory=set)
    """Names that are called as functions."""
    asserts: bool = False
    """Whether anything can fail there: an assert, a raise, or a call of something that says "assert"."""
    replaces: str | None = None
    """What they put in the place of something that the program uses; that would not reach the program."""


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
            if isinstance(node.func, ast.Name):
                facts.called.add(name)
        elif isinstance(node, ast.Assert | ast.Raise):
            facts.asserts = True
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            mocks = mocks or bool(names & _MOCKS)
            patches = patches or "patch" in names
        elif isinstance(node, ast.Attribute):
            patches = patches or node.attr == "patch"
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


def rewritten(tree: ast.Module) -> ast.Module:
    """Return the tree with asserts, ``is`` and ``type()`` passed through functions."""
    return ast.fix_missing_locations(_Rewriter().visit(tree))  # type: ignore[no-any-return]


class _Rewriter(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        place = (node.test.lineno, node.test.col_offset, node.test.end_lineno, node.test.end_col_offset)
        test, where = node.test, ast.Constant(place)  # type: ignore[arg-type] # a tuple is one, too
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = (self.visit(side) for side in (test.left, test.comparators[0]))
            again = _again(right) if not isinstance(left, ast.Constant) else ast.Constant(None)
            test = _call(COMPARE, where, ast.Constant(type(test.ops[0]).__name__), left, _call(ASKED), right, again)
        else:
            test = _call(TRUTH, where, self.visit(test))
        return ast.copy_location(ast.Assert(test, node.msg), node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) > 1 or not isinstance(node.ops[0], ast.Is | ast.IsNot):
            return node
        same: ast.expr = _call(IS, node.left, node.comparators[0])
        same = same if isinstance(node.ops[0], ast.Is) else ast.UnaryOp(ast.Not(), same)
        return ast.copy_location(same, node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "type" and len(node.args) == 1 and not node.keywords:
            return ast.copy_location(_call(TYPE, *node.args), node)
        return node


def _again(side: ast.expr) -> ast.expr:
    """A function that evaluates an expression once more; None where that has no use or another meaning."""
    nodes = list(ast.walk(side))
    kinds = {type(node) for node in nodes}
    called = {_called(node) for node in nodes if isinstance(node, ast.Call)}
    if ast.Name not in kinds or kinds & {ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr} or called & _ONCE:
        return ast.Constant(None)
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(nothing, copy.deepcopy(side))


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
