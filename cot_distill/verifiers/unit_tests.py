"""Judging code by running it against the tests of its task.

It knows where the code is in an answer. How code is run, and what keeps it from doing harm, is the business of
:mod:`cot_distill.sandbox`.
"""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from hashlib import blake2b
from types import TracebackType
from typing import Any, ClassVar

from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.sandbox import LocalSandbox, Outcome, Sandbox
from cot_distill.sandbox.forms import named_in, normalised
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._fences import fences
from cot_distill.verifiers._verdicts import inapplicable

__all__ = ["unit_tests"]

_TOLD = ("entry_point", "fn_name", "func_name")
_DEFINED = re.compile(
    r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)|^(\w+)[ \t]*=[ \t]*(?:lambda\b|(?:functools\.)?partial\b)",
    re.MULTILINE,
)
_NO_ISOLATION = "executed without isolation"


def unit_tests(
    *,
    timeout: float = 10.0,
    memory: int = 512,
    sandbox: Sandbox | None = None,
    execute_unsafely: bool = False,
    workers: int | None = None,
) -> UnitTests:
    """Make a verifier that runs the code of an answer against ``Task.tests``.

    The code is the last fenced block that defines what the tests use, else the last block of Python, else the whole
    answer. Forms of tests: Python (asserts, ``check(candidate)``, test functions, ``unittest``), a list of asserts,
    pairs of input and output; see the page on the sandbox. ``entry_point`` or ``fn_name`` may stand in
    ``Task.metadata``.

    The code runs in a sandbox, beside the requests and with a lower priority, in processes that start when they are
    first needed and end with the run, with ``async with``, or else with this process.

    Args:
        timeout: Seconds of wall-clock time; for each run of a program that reads standard input.
        memory: MiB of address space.
        sandbox: Where to run. Default: a :class:`~cot_distill.sandbox.LocalSandbox`.
        execute_unsafely: Run model-written code as you, with nothing to keep it in. Each verdict says so.
        workers: How many programs may run at once. Default: one per CPU, at most 8.

    Returns:
        A verifier named "unit_tests". Tests that cannot tell, and trouble of the sandbox, are no failure of the
        answer (``passed=None``). The score is the share of the tests that passed, where it is known.

    Raises:
        ConfigError: ``sandbox`` is given together with what would go to the default one.
        SandboxUnavailableError: Where it is entered or first used: nothing here can keep a program in.

    Example:
        >>> verify = unit_tests(timeout=5)
        >>> task = Task(instruction="Double it.", tests=["assert double(2) == 4"])
        >>> async def judged():
        ...     async with verify:
        ...         return await verify(task, Trace(reasoning="Hm.", answer="def double(x): return 2 * x"))
        >>> anyio.run(judged).passed  # doctest: +SKIP
        True
    """
    if sandbox is not None and (execute_unsafely or workers is not None):
        raise ConfigError("unit_tests(): say `execute_unsafely` and `workers` of the sandbox that you give")
    return UnitTests(timeout, memory, sandbox or LocalSandbox(workers=workers, execute_unsafely=execute_unsafely))


@dataclass(frozen=True)
class UnitTests:
    """Runs code against tests. Made by :func:`unit_tests`."""

    timeout: float
    memory: int
    sandbox: Sandbox
    name: ClassVar[str] = "unit_tests"
    __name__: ClassVar[str] = "unit_tests"

    @property
    def digest(self) -> str:
        """Changes with what verdicts depend on."""
        settings = repr((self.timeout, self.memory, identity_of(self.sandbox)))
        return blake2b(settings.encode(), digest_size=12).hexdigest()

    async def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        """Run the code of the answer."""
        if not task.tests:
            return inapplicable(self.name, "the task has no tests")
        tests = _tests_of(task)
        code, is_block = _code_of(trace.answer, tests)
        outcome = await self.sandbox.run(code, tests, timeout=self.timeout, memory=self.memory)
        return Verdict(
            by=self.name,
            passed=outcome.passed,
            score=outcome.score,
            reason=_reason(outcome, is_block=is_block),
            about="answer",
        )

    async def __aenter__(self) -> UnitTests:
        if isinstance(self.sandbox, AbstractAsyncContextManager):
            await self.sandbox.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self.sandbox, AbstractAsyncContextManager):
            await self.sandbox.__aexit__(kind, error, trace)


def _tests_of(task: Task) -> Any:
    """The tests, with what the metadata say of them."""
    told = {name: task.metadata[name] for name in _TOLD if isinstance(task.metadata.get(name), str)}
    return {**told, "tests": task.tests} if told else task.tests


def _code_of(answer: str, tests: object) -> tuple[str, bool]:
    """The code in an answer, and whether it is a fenced block."""
    blocks = [block for block in fences(answer) if block.text.strip()]
    if not blocks:
        return answer, False
    python = [block for block in blocks if block.language == "python"]
    unnamed = [block for block in blocks if not block.language]
    wanted = named_in(normalised(tests))
    # Of several that define as much of it, the last: the earlier ones are drafts.
    defined = [(len(wanted & _defined(block.text)), number) for number, block in enumerate(blocks)]
    most, number = max(defined)
    if most:
        return blocks[number].text, True
    found = python or unnamed
    return (found[-1].text, True) if found else (answer, False)


def _defined(code: str) -> set[str]:
    """Names of functions and classes of a module. By their look: a model's code is not parsed in this process."""
    return {name for found in _DEFINED.findall(code) for name in found if name}


def _reason(outcome: Outcome, *, is_block: bool) -> str:
    reason = f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status
    if outcome.status == "passed":
        reason = outcome.reason or "all tests passed"
    elif not is_block and outcome.status == "error" and outcome.reason.startswith("SyntaxError"):
        reason = "there is no fenced block of Python, and the answer as a whole is not Python"
    return f"{reason} ({_NO_ISOLATION})" if outcome.isolation == "none" else reason
