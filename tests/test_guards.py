"""Guards: any verifier of how a trace is written can stop an answer that is still coming."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.errors import ConfigError
from cot_distill.guards import fails
from cot_distill.types import Message, Verdict
from cot_distill.verifiers import repetition, scripts

LOOP = "Wait, let me check that again. " * 20
FINE = " ".join(f"Then {number} and {number * 7} make {number * 8}." for number in range(60))
CHINESE = "所以答案是四，因为二加二等于四。"


@pytest.mark.parametrize(("reasoning", "answer"), [(LOOP, ""), (FINE, LOOP), ("", f"<think>\n{LOOP}"), ("", LOOP)])
def test_a_loop_stops(reasoning: str, answer: str) -> None:
    assert "times in a row" in str(fails(repetition())(reasoning, answer))


@pytest.mark.parametrize(
    ("reasoning", "answer"), [("", ""), (FINE, ""), ("", f"<think>{FINE}</think>4"), (FINE, FINE), ("<think>", " \n")]
)
def test_what_is_fine_goes_on(reasoning: str, answer: str) -> None:
    assert fails(repetition(), scripts("en"))(reasoning, answer) is None


def test_another_script_stops_unless_the_question_is_about_it() -> None:
    guard = fails(scripts())
    assert "letters of Han" in str(guard(f"{FINE} {CHINESE}", ""))
    about = {
        "What is 2 + 2?": False,
        "Translate 'so the answer is four' into Chinese.": True,
        "二加二等于几？请写出你的推理过程，并给出最后的答案。": True,
    }
    for question, passes in about.items():
        told = guard.about([Message(role="system", content=" "), Message(role="user", content=question)])
        assert (told(CHINESE * 5, "") is None) is passes
    assert guard.about([Message(role="user", content=" ")]) is guard


def test_only_the_end_is_looked_at() -> None:
    """Else each look would take longer than the one before."""
    guard = fails(repetition())
    long = " ".join(f"Then {number} and {number * 7} make {number * 8}." for number in range(1000))
    assert guard(LOOP + long, "") is None
    assert guard(long + LOOP, "") is not None


def test_verifiers_that_cannot_watch() -> None:
    with pytest.raises(ConfigError, match="at least one verifier"):
        fails()
    with pytest.raises(ConfigError, match="fails"):
        fails("repetition")  # type: ignore[arg-type]

    class Slow:
        async def __call__(self, task: Any, trace: Any) -> Verdict:
            raise AssertionError

    class Later:
        def __call__(self, task: Any, trace: Any) -> Any:
            return None

    async def slow(task: Any, trace: Any) -> Verdict:
        raise AssertionError

    with pytest.raises(ConfigError, match="Later gives no verdict at once"):
        fails(Later())("a", "b")
    for verifier in (Slow(), slow):
        with pytest.raises(ConfigError, match=r"(?i)slow gives no verdict at once"):
            fails(verifier)


def test_a_verdict_without_a_reason() -> None:
    guard = fails(lambda task, trace: Verdict(by="short", passed=len(trace.reasoning) < 5))
    assert guard("abc", "") is None
    assert guard("abcdef", "") == "short: it does not pass"
