"""What a run of a program comes to, and the protocol of whatever can run one. Knows no way of running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

__all__ = ["Outcome", "Sandbox", "Status"]

Status = Literal[
    "passed",  # every test passed
    "failed",  # a test failed: the program does something else than expected
    "error",  # the program raised, or does not define what is tested
    "exited",  # the program ended before its tests did
    "timeout",  # it did not end in time
    "output_limit",  # it printed, wrote or returned too much
    "unverifiable",  # the tests cannot tell: they are no tests, or need what does not cross or is not there
    "sandbox_error",  # trouble here, twice in a row; says nothing about the program
]
"""How a run ended."""


@dataclass(frozen=True)
class Outcome:
    """What came of running a program against its tests.

    Example:
        >>> Outcome("failed", "double(2) == 4: 5 == 4 is false").passed
        False
        >>> Outcome("sandbox_error", "the sandbox broke down twice").passed is None
        True
    """

    status: Status
    reason: str = ""
    """Which test failed, with the values; or what else happened."""
    stdout: str = ""
    """What the program printed, at most 8 kB."""
    seconds: float = 0.0
    """Wall-clock time of the run."""
    isolation: str = ""
    """What kept the program in, as :func:`isolation` names it; ``"none"``: nothing did; empty: not said."""
    score: float | None = None
    """Share of the tests that passed, where it is known."""

    @property
    def passed(self) -> bool | None:
        """Right, wrong, or None: cannot tell."""
        if self.status in ("unverifiable", "sandbox_error"):
            return None
        return self.status == "passed"


@runtime_checkable
class Sandbox(Protocol):
    """Runs programs. If it is also an async context manager it is entered once per run: start machines there.

    Example:
        A sandbox of containers, where ``run_in_container`` is yours::

            class Containers:
                async def run(self, code, tests, *, timeout, memory):
                    status, output = await run_in_container(code, tests, timeout, memory)
                    return Outcome(status="passed" if status == 0 else "failed", stdout=output, isolation="docker")
    """

    async def run(self, code: str, tests: Any, *, timeout: float, memory: int) -> Outcome:
        """Run a program against its tests.

        Args:
            code: Python.
            tests: In any of the forms of ``Task.tests``.
            timeout: Seconds of wall-clock time.
            memory: MiB for each process.

        Returns:
            What came of it. Trouble that is not the program's is ``"sandbox_error"``.
        """
        ...
