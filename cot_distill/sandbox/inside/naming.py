"""Whose the names are that tests use without defining them: decided by the tests alone, before the program is asked.

A program that could say what ``abs``, ``math`` or ``Counter`` are would be its own judge.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from .influence import Influence, all_bound
from .stubs import SpoiledError

__all__ = ["Names", "names_of", "program_names"]

_ABBREVIATIONS = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot", "tf": "tensorflow", "nx": "networkx"}
_OTHERS = {*_ABBREVIATIONS, *_ABBREVIATIONS.values(), "pytest", "torch", "scipy", "sympy", "sklearn", "hypothesis"}
"""Modules that tests use without importing them, since people rely on the program to have done so."""
_JUDGES = {"approx", "allclose", "array_equal", "raises"}
_HELPFUL = """
    math collections functools itertools copy decimal fractions datetime heapq bisect statistics operator typing
    dataclasses contextlib io re json random string time
"""
_NOT_HELPFUL = {"index", "count", "sub", "add", "search", "match", "product", "repeat", "log", "find", "total"}


class Names(NamedTuple):
    """What was decided."""

    wanted: set[str]
    """What the program is to define."""
    own: dict[str, Any]
    """What other names stand for."""
    tested: str | None
    """A name of builtins that is the program's after all: the only name that the tests use."""


def names_of(tree: ast.Module, *, entry: bool) -> Names:
    """Decide whose the free names of tests are.

    Args:
        tree: The tests.
        entry: Whether it is known otherwise what is tested.

    Raises:
        SpoiledError: It would be a guess.
    """
    loaded = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    free = {node.id for node in loaded} - all_bound(tree) - {"__name__", "__file__", "candidate"}
    bases = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    alone = {node.id for node in loaded if id(node) not in bases}
    wanted = {name for name in free if not hasattr(builtins, name)}
    own: dict[str, Any] = {}
    for name in sorted(wanted - alone):  # used as modules are, as in `math.isclose(…)`
        if name in sys.stdlib_module_names:
            own[name] = importlib.import_module(name)
        elif name in _OTHERS:
            own[name] = _imported(name)
    wanted -= own.keys()
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    tested = None
    if len(free) == 1 and not (wanted or own or entry or imports):
        (tested,) = free
    entry = entry or any(_is_of_program(node, alias) for node in imports for alias in node.names)
    own.update(_helpers(tree, wanted, sure=entry))
    return Names(wanted - own.keys(), own, tested)


def program_names(tree: ast.Module, wanted: set[str]) -> set[str]:
    """Names in tests that stand for the program and what is in it.

    Args:
        tree: The tests.
        wanted: Those that it is to define.
    """
    found = {"candidate", "solution", *wanted}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "check":
            found.update(argument.arg for argument in node.args.args)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names if _is_of_program(node, alias))
    return found


def _helpers(tree: ast.Module, wanted: set[str], *, sure: bool) -> dict[str, Any]:
    """Those of the standard library by the side of what is tested, as in ``Counter(letters(x)) == Counter("ab")``."""
    known = {name: value for name in wanted for value in _of_library(name)}
    judges = {name for name in wanted if name in _JUDGES or name.startswith("assert_")}
    if not (known or judges) or (len(wanted) == 1 and not sure):
        return {}
    others = wanted - known.keys() - judges
    pieces = [piece for node in ast.walk(tree) if isinstance(node, ast.stmt) for piece in _head(node)]
    found = {}
    for name in sorted(judges | known.keys()):
        influence = Influence(tree, program_names(tree, others if others or sure else wanted - {name}))
        uses = [influence.on(piece) for piece in pieces if _names(piece, name)]
        if not any(uses):
            continue  # tested for its own sake
        is_type = isinstance(known.get(name), type)
        if name in judges or not (others or sure) or not (is_type or all(uses)):
            raise SpoiledError("unverifiable", f"the tests use {name} and do not say where it is from")
        found[name] = known[name]
    return found


def _head(statement: ast.stmt) -> list[ast.AST]:
    """A statement without those inside it."""
    if not hasattr(statement, "body"):
        return [statement]
    heads = [getattr(statement, part, None) for part in ("test", "iter", "subject")]
    return [head for head in (*heads, *getattr(statement, "items", ())) if head is not None]


def _of_library(name: str) -> Iterator[Any]:
    """What the standard library calls by a name, if it is one that programs are wont to import for their tests."""
    for module in _HELPFUL.split() if name not in _NOT_HELPFUL else ():
        found = vars(importlib.import_module(module)).get(name)
        if found is not None and not isinstance(found, type(sys)):
            yield found
            return


def _imported(name: str) -> Any:
    with suppress(ImportError):
        return importlib.import_module(_ABBREVIATIONS.get(name, name))
    raise SpoiledError("unverifiable", f"the tests use {name} and do not import it")


def _is_of_program(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    return node.module == "solution" if isinstance(node, ast.ImportFrom) else alias.name == "solution"


def _names(piece: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(piece))
