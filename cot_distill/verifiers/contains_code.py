"""Judging whether there is code in an answer, of which the language can be read.

It does not run anything: that is for :func:`cot_distill.verifiers.unit_tests`.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from cot_distill.arguments import shown
from cot_distill.errors import ConfigError
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._fences import Fence, fences, parse_json, usual_name
from cot_distill.verifiers.isolated import isolated

__all__ = ["contains_code"]

_SECONDS = 10.0
_MEBIBYTES = 2048
"""The parser of Python can take gigabytes for what is nested a hundred thousand times."""


def contains_code(language: str = "python") -> Verifier:
    r"""Make a verifier that wants a fenced block of code in the answer.

    Blocks in Python and JSON must parse; of another language it is enough that one is there and not empty. Python in
    a block that names no language counts too. Python is parsed in a worker process, since some texts make its parser
    take its time.

    Args:
        language: As it stands behind the fence; short names such as ``py`` mean the same.

    Returns:
        A verifier named "contains_code". It is about the form: it needs no reference, and says nothing of whether the
        code is right.

    Raises:
        ConfigError: The language is empty.

    Example:
        >>> verify = contains_code("json")
        >>> verify(Task(instruction="Q?"), Trace(reasoning="Hm.", answer='```json\n{"a" 1}\n```')).reason
        "the json does not parse: Expecting ':' delimiter: line 1 column 6 (char 5) (of the block in line 2)"
    """
    if not isinstance(language, str) or not language.strip():
        raise ConfigError(f"contains_code() needs the name of a language, not {shown(language)}")
    name = usual_name(language)
    verifier = _ContainsCode(name)
    return isolated(verifier, timeout=_SECONDS, memory=_MEBIBYTES) if name == "python" else verifier


@dataclass(frozen=True)
class _ContainsCode:
    language: str
    name: ClassVar[str] = "contains_code"
    __name__: ClassVar[str] = "contains_code"
    about: ClassVar[Literal["quality"]] = "quality"

    @property
    def light(self) -> bool:
        return self.language != "python"

    def __call__(self, _: Task, trace: Trace, /) -> Verdict:
        passed, reason = self._found([fence for fence in fences(trace.answer) if fence.text.strip()])
        return Verdict(by=self.name, passed=passed, about=self.about, reason=reason)

    def _found(self, blocks: list[Fence]) -> tuple[bool, str]:
        fault_of = _FAULTS.get(self.language, _no_fault)
        faults = [fault_of(block) for block in blocks if block.language == self.language]
        if None in faults:
            return True, f"there is a block of {self.language}"
        if faults:
            return False, f"the {self.language} does not parse: {faults[-1]}"
        if self.language == "python" and any(not block.language and not _python_fault(block) for block in blocks):
            return True, "a block that names no language is python"
        return False, f"there is no fenced block of {self.language}"


def _no_fault(_: Fence) -> str | None:
    return None


def _json_fault(block: Fence) -> str | None:
    try:
        parse_json(block.text)
    except ValueError as error:
        return f"{error} (of the block in line {block.line})"
    return None


def _python_fault(block: Fence) -> str | None:
    try:
        with warnings.catch_warnings():  # in a process of its own: in another one all threads would lose theirs
            warnings.simplefilter("ignore")
            ast.parse(block.text)
    except SyntaxError as error:
        return f"{error.msg} (line {block.line + (error.lineno or 1) - 1} of the answer)"
    except (MemoryError, RecursionError, ValueError):
        return f"nested too deeply (line {block.line} of the answer)"
    return None


_FAULTS: dict[str, Callable[[Fence], str | None]] = {"json": _json_fault, "python": _python_fault}
