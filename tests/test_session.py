"""Sessions of one run: whatever changes in between, what is finished is never paid for again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill import Distiller, Sampling, Task, Verdict
from cot_distill.errors import RequestError, UnavailableError
from cot_distill.protocols import Verifier
from cot_distill.run import Run
from cot_distill.types import Completion, Failure, Message, Sample, Trace, Usage

KINDS = ("good", "good", "cut", "bare", "refused", "server error")
FINAL = {"good", "bare", "refused"}


class Plan(NamedTuple):
    """One session: which tasks, how many attempts, how much room; and whether the run is compressed after it."""

    tasks: list[int]
    attempts: int
    room: int
    verifiers: int
    compact: bool = False


PLANS = st.lists(
    st.builds(
        Plan,
        st.lists(st.integers(0, 3), min_size=1, unique=True),
        st.integers(1, 2),  # with 4 tasks: not enough errors in a row to end the session
        st.sampled_from([10, 20, 30]),
        st.integers(0, 2),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def odd(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="odd", passed=int(task.id) % 2 == 1)


def any_task(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="any_task", passed=True)


VERIFIERS: list[list[Verifier]] = [[], [odd], [odd, any_task]]


class Dealt:
    """A teacher that answers from a pack of cards, and knows what each attempt has got so far."""

    name = "dealt"

    def __init__(self, cards: Sequence[str]) -> None:
        self._cards = cards
        self.got: dict[tuple[str, int], list[tuple[str, int]]] = {}
        self.calls = 0

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        card = self._cards[self.calls % len(self._cards)]
        self.calls += 1
        room = sampling.max_tokens or 0
        history = self.got.setdefault((messages[-1].content, sampling.seed or 0), [])
        for kind, before in history:
            assert kind not in FINAL, "asked again though it was finished"
            assert kind != "cut" or room > before, "asked again though it had no more room"
        await anyio.sleep(0)
        history.append((card, room))
        usage = Usage(prompt_tokens=1, completion_tokens=room)
        if card == "refused":
            raise RequestError("no", kind="refused", status=400)
        if card == "server error":
            raise UnavailableError("no", status=500, retry_after=0)
        if card == "bare":
            return Completion(content="a", usage=usage)
        reason = "length" if card == "cut" else "stop"
        return Completion(reasoning="r", content="a", trace_kind="full", finish_reason=reason, usage=usage)


def latest_of(history: list[tuple[str, int]]) -> tuple[str, int]:
    """What counts: the last answer, which no later failure takes away; without any, the last failure."""
    answered = [event for event in history if event[0] in ("good", "cut", "bare")]
    return (answered or history)[-1]


async def play(teacher: Dealt, plan: Plan, path: Path) -> Run:
    distiller = Distiller(
        teacher,
        attempts=plan.attempts,
        sampling=Sampling(max_tokens=plan.room, seed=0),
        verifiers=VERIFIERS[plan.verifiers],
        retries=0,
        concurrency=3,
        require_reasoning=False,
    )
    tasks = [Task(id=number, instruction=f"question {number}") for number in plan.tasks]
    run = await distiller.arun(tasks, path, progress=False)
    if plan.compact:
        run.compact()
    return run


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=9), PLANS)
def test_nothing_that_is_finished_is_asked_again_and_the_sums_add_up(cards: list[str], plans: list[Plan]) -> None:
    teacher = Dealt(cards)
    with tempfile.TemporaryDirectory() as folder:
        for plan in plans:
            run = anyio.run(play, teacher, plan, Path(folder) / "run")
        report = run.report()
        outcomes = list(run.outcomes())
    assert report.asked == len(outcomes) == report.samples + sum(report.failures.values())
    assert report.samples == report.passed + report.wrong + report.unjudged
    assert report.sessions == len(plans)
    latest = {place: latest_of(history) for place, history in teacher.got.items()}
    found = {(outcome.task.instruction, outcome.attempt): outcome for outcome in outcomes}
    assert found.keys() == latest.keys()
    words = {"cut": "truncated", "bare": "no_reasoning", "refused": "refused", "server error": "http"}
    for place, (card, _) in latest.items():
        outcome = found[place]
        assert isinstance(outcome, Sample if card == "good" else Failure)
        assert isinstance(outcome, Sample) or outcome.kind == words[card]
    paid = [room for history in teacher.got.values() for card, room in history if card in ("good", "cut", "bare")]
    assert report.completion_tokens == sum(paid)
    assert report.asked_again == len(paid) - sum(1 for card, _ in latest.values() if card in ("good", "cut", "bare"))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=9), PLANS)
def test_the_last_session_judged_every_sample_of_its_own_tasks(cards: list[str], plans: list[Plan]) -> None:
    teacher = Dealt(cards)
    with tempfile.TemporaryDirectory() as folder:
        for plan in plans:
            run = anyio.run(play, teacher, plan, Path(folder) / "run")
        samples = list(run.samples())
    names = [verifier.__name__ for verifier in VERIFIERS[plan.verifiers]]  # type: ignore[attr-defined]
    if not names:
        return  # then what earlier verifiers said stays
    for sample in samples:
        if sample.task.id in plan.tasks and sample.attempt < plan.attempts:
            assert [verdict.by for verdict in sample.verdicts] == names


@pytest.mark.anyio
async def test_a_session_is_booked_from_its_start_to_its_end(tmp_path: Path) -> None:
    teacher = Dealt(["good"])
    for number in (1, 2):
        run = await play(teacher, Plan([0, 1], 1, 10, 0), tmp_path / "run")
        report = run.report()
        assert (report.sessions, report.killed, report.abandoned) == (number, 0, 0)
        assert report.seconds > 0
    assert teacher.calls == 2
