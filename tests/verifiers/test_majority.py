"""The vote of the attempts: who agrees, from how many on, and where a reference goes before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cot_distill import Distiller
from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Message, Sample, Task, Trace, Verdict
from cot_distill.verifiers import majority


def sample(answer: str, task: int | str = 1, gold: str | None = None) -> Sample:
    return Sample(task=Task(id=task, instruction="Q?", answer=gold), trace=Trace(reasoning="r", answer=answer))


def judge(samples: list[Sample], answer: str, **settings: float) -> Verdict:
    verdict = majority(samples, **settings)(samples[0].task, Trace(reasoning="r", answer=answer))  # type: ignore[arg-type]
    assert isinstance(verdict, Verdict)
    return verdict


def test_the_answer_of_most_is_right() -> None:
    votes = [sample(text) for text in ("Answer: 1,000", r"\boxed{1000}", "1000.0", "Answer: 7")]
    assert judge(votes, "Answer: 1000").passed is True
    verdict = judge(votes, "7")
    assert (verdict.passed, verdict.about) == (False, "answer")
    assert "3 of 4" in str(verdict.reason)


def test_without_a_majority_or_with_too_few_votes_it_cannot_be_told() -> None:
    assert judge([sample("1"), sample("1"), sample("2"), sample("2")], "1").passed is None
    assert judge([sample("1"), sample("1")], "1").passed is None
    assert judge([sample("1"), sample("1")], "1", minimum=2).passed is True
    assert judge([sample("1")] * 3 + [sample("2")] * 2, "1", share=0.7).passed is None


def test_each_task_has_its_own_vote_also_where_they_come_mixed() -> None:
    votes = [sample(answer, task) for _ in range(3) for task, answer in ((1, "4"), ("1", "5"))]
    assert judge(votes, "4").passed is True
    assert majority(votes)(Task(id="1", instruction="Q?"), Trace(reasoning="r", answer="4")).passed is False  # type: ignore[union-attr]


def test_a_reference_answer_goes_before_it() -> None:
    assert judge([sample("1", gold="2")] * 5, "1").applies is False


def test_other_votes_are_another_verifier() -> None:
    one, same, other = ([sample(text)] * 3 for text in ("1", "1", "2"))
    assert identity_of(majority(one)) == identity_of(majority(same)) != identity_of(majority(other))


@pytest.mark.parametrize("settings", [{"minimum": 0}, {"share": 1.0}, {"share": -0.1}])
def test_settings_without_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        majority([], **settings)  # type: ignore[arg-type]


def test_a_finished_run_is_judged_by_its_own_attempts(tmp_path: Path) -> None:
    def script(messages: list[Message]) -> tuple[str, str]:
        number = len(teacher.calls)
        return "r", "Answer: 9" if number % 5 == 0 else "Answer: 8"

    teacher = ScriptedTeacher(script)  # type: ignore[arg-type]
    run = Distiller(teacher, attempts=10, concurrency=1).run([Task(id=1, instruction="Q?")], tmp_path, progress=False)
    run.judge(majority(run.samples()))
    report = run.report()
    assert (report.passed, report.wrong, report.unjudged) == (8, 2, 0)
