"""A pattern in the answer: it matches, or its group is compared; and none hangs a run."""

from __future__ import annotations

import re
from functools import partial

import anyio
import pytest

from cot_distill.errors import ConfigError
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import isolated, regex


def ask(verifier: Verifier, answer: str, expected: str | None = "4", reasoning: str = "Hm.") -> Verdict:
    task, trace = Task(instruction="Q?", answer=expected), Trace(reasoning=reasoning, answer=answer)
    verdict: Verdict = anyio.run(partial(verifier, task, trace))  # type: ignore[arg-type]
    return verdict


@pytest.mark.parametrize(
    ("pattern", "flags", "full", "answer", "passed"),
    [
        (r"\d", 0, False, "the 4th", True),
        (r"\d", 0, False, "none", False),
        ("YES", re.IGNORECASE, False, "well, yes", True),
        (r"[A-E]", 0, True, " B\n", True),
        (r"[A-E]", 0, True, "B.", False),
        (r"^#### (?P<answer>.+)$", re.MULTILINE, False, "so\n#### **4**", True),
        (r"^#### (?P<answer>.+)$", re.MULTILINE, False, "#### 4\n#### 5", False),
        (r"^#### (?P<answer>.+)$", re.MULTILINE, False, "4", False),
        (r"x(?P<answer>.)?", 0, False, "x", False),
    ],
)
def test_a_pattern(pattern: str, flags: int, full: bool, answer: str, passed: bool) -> None:
    verify = regex(pattern, flags=flags, full=full, timeout=30)
    inner = getattr(verify, "verifier")  # noqa: B009 - what runs inside, without a process for each case
    verdict = inner(Task(instruction="Q?", answer="4"), Trace(reasoning="#### 4", answer=answer))
    assert (verdict.by, verdict.passed) == ("regex", passed)
    assert verdict.about == ("answer" if "answer" in pattern else "quality")
    assert verdict.reason


def test_only_a_group_named_answer_needs_a_reference() -> None:
    for pattern, applies in ((r"(?P<answer>\d)", False), (r"(?P<other>\d)", True)):
        verdict = getattr(regex(pattern), "verifier")(Task(instruction="Q?"), Trace(reasoning="r", answer="4"))  # noqa: B009
        assert verdict.applies is applies


def test_a_pattern_that_backtracks_for_ever_is_ended() -> None:
    verify = regex(r"(a+)+$", timeout=1)
    assert isinstance(verify, type(isolated(verify)))
    verdict = ask(verify, "a" * 60 + "b")
    assert verdict == Verdict(by="regex", passed=None, about="quality", reason="took longer than 1 s: killed")
    assert ask(verify, "aaa").passed is True


@pytest.mark.parametrize("pattern", ["(", "(?P<answer>", "*"])
def test_a_pattern_that_is_none_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(ConfigError, match="no regular expression"):
        regex(pattern)
