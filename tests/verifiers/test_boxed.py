"""A box is demanded, and the last one counts."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import anyio
import pytest

from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import boxed, exact, isolated, numeric


def judge(gold: str | None, answer: str, verifier: object = None) -> Verdict:
    verify = boxed() if verifier is None else boxed(verifier=verifier)  # type: ignore[arg-type]
    verdict = verify(Task(instruction="Q?", answer=gold), Trace(reasoning=r"\boxed{4}", answer=answer))
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("answer", "passed"),
    [(r"\boxed{4}", True), (r"\boxed{3}, no: \boxed{4}", True), (r"\boxed{4} and \boxed{5}", False), ("4", False)],
)
def test_the_last_box_counts(answer: str, passed: bool) -> None:
    assert judge("4", answer).passed is passed


def test_boxes_that_differ_are_told() -> None:
    assert "2 boxes, which differ: '3', '4'" in str(judge("4", r"\boxed{3} or \boxed{4}").reason)


def test_another_verifier_may_compare_what_is_in_the_box() -> None:
    assert judge("0.75", r"\boxed{\frac{3}{4}}").passed is False
    verdict = judge("0.75", r"\boxed{\frac{3}{4}}", numeric())
    assert (verdict.passed, verdict.by) == (True, "boxed")
    assert judge("0.75", "Answer: 0.75", numeric()).passed is False


def test_without_a_reference_it_does_not_apply() -> None:
    assert judge(None, r"\boxed{4}").applies is False


def test_a_verifier_in_a_process_is_started_and_awaited_too() -> None:
    inner = isolated(numeric(), workers=1)
    verify: Any = boxed(verifier=inner)
    task, trace = Task(instruction="Q?", answer="0.75"), Trace(reasoning="r", answer=r"\boxed{1/2} \boxed{3/4}")

    async def judged() -> Verdict:
        async with verify:
            assert inner.pool._workers
            found = verify(task, trace)
            assert not isinstance(found, Verdict)
            verdict: Verdict = await found
            return verdict

    verdict = anyio.run(partial(judged))
    assert (verdict.by, verdict.passed) == ("boxed", True)
    assert "(the last of 2 boxes, which differ: '1/2', '3/4')" in (verdict.reason or "")
    assert not inner.pool._workers


def test_it_runs_where_the_verifier_inside_does() -> None:
    assert boxed().light is True  # type: ignore[attr-defined]
    assert boxed(verifier=exact()).light is True  # type: ignore[attr-defined]
    assert boxed(verifier=isolated(exact())).light is False  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(boxed(verifier=exact()))) == boxed(verifier=exact())
