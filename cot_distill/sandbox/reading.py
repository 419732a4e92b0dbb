"""What a job came to, in words: who ended it, and what that says about the program."""

from __future__ import annotations

import json
import os
import signal
from typing import Any, get_args

from cot_distill.sandbox.inside.jobs import FILES, FINISHED, STOPPED, TIMEOUT
from cot_distill.sandbox.outcome import Outcome, Status
from cot_distill.sandbox.zygote import MOST_OUTPUT, Ran

__all__ = ["KEPT_OUTPUT", "agree", "program_outcome", "tests_outcome"]

KEPT_OUTPUT = 8 << 10
_LETTERS = 160
_KILLED = -1


def tests_outcome(ran: Ran, *, timeout: float, isolation: str) -> Outcome:
    """Read a job that had a process for the tests. Only that process can say "passed"."""
    common: dict[str, Any] = {"stdout": _kept(ran.stdout), "seconds": ran.seconds, "isolation": isolation}
    trouble = _trouble(ran, timeout)
    if trouble is not None:
        return Outcome(*trouble, **common)
    verdict = _verdict(ran.verdict)
    if verdict is None:
        # A program can drive the tests' process out of its memory or time, but not to a verdict.
        return Outcome("unverifiable", f"the tests came to no verdict ({_ending(ran.tests)})", **common)
    status, reason = verdict["status"], _printable(verdict["reason"])
    if status == "exited" and ran.program != _KILLED:
        reason = f"{reason} ({_ending(ran.program)})"
    score = verdict["passed"] / verdict["tests"] if verdict["tests"] and status != "unverifiable" else None
    return Outcome(status, reason, score=score, **common)


def program_outcome(ran: Ran, expected: str, *, timeout: float, isolation: str) -> Outcome:
    """Read a job that ran a whole program, and compare what it printed."""
    common: dict[str, Any] = {"stdout": _kept(ran.stdout), "seconds": ran.seconds, "isolation": isolation}
    trouble = _trouble(ran, timeout)
    if trouble is not None:
        return Outcome(*trouble, **common)
    if ran.program != 0:
        said = _printable(_kept(ran.stderr).strip().rpartition("\n")[2][:_LETTERS])
        if said.startswith("ModuleNotFoundError"):
            return Outcome("unverifiable", f"the program needs what the sandbox does not have: {said}", **common)
        if os.WIFEXITED(ran.program) and said:
            return Outcome("error", said, **common)
        return Outcome("exited", f"the program ended early ({_ending(ran.program)})", **common)
    printed = ran.stdout.decode("utf-8", "replace")
    if agree(printed, expected):
        return Outcome("passed", **common)
    return Outcome("failed", f"printed {_short(printed)}, expected {_short(expected)}", **common)


def agree(printed: str, expected: str) -> bool:
    """Whether two outputs are the same but for white space at the ends of lines and blank lines at the end."""
    return _lines(printed) == _lines(expected)


def _trouble(ran: Ran, timeout: float) -> tuple[Status, str] | None:
    if ran.flooded or ran.why == STOPPED:
        return "output_limit", f"printed more than {MOST_OUTPUT >> 20} MB"
    if ran.why == FILES:
        return "output_limit", "wrote too many files"
    if ran.why == TIMEOUT or "SIGXCPU" in (_signal(ran.program), _signal(ran.tests)):
        return "timeout", f"not done after {timeout:g} s"
    return None if ran.why == FINISHED else ("sandbox_error", f"an unknown ending: {ran.why}")


def _verdict(data: bytes) -> dict[str, Any] | None:
    """The verdict, if it is one."""
    try:
        found = json.loads(data)
        known = found["status"] in get_args(Status) and isinstance(found["reason"], str)
        return found if known and 0 <= found["passed"] <= found["tests"] else None
    except (ValueError, KeyError, TypeError):
        return None


def _ending(status: int) -> str:
    name = _signal(status)
    return f"killed by {name}" if name else f"exit status {os.waitstatus_to_exitcode(max(0, status))}"


def _signal(status: int) -> str | None:
    """The signal that ended a process, by name."""
    if status <= 0 or not os.WIFSIGNALED(status):
        return None
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kept(data: bytes) -> str:
    return data[:KEPT_OUTPUT].decode("utf-8", "replace")


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _printable(text: str) -> str:
    """A text that the program had a hand in, without what ends a line, moves a cursor, or cannot be written."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _short(text: str) -> str:
    text = text.strip("\n")
    return repr(text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…")
