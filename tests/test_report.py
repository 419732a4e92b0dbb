"""The report: a ledger that adds up, on a terminal and in a notebook."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cot_distill.funnel import Stage
from cot_distill.report import Report, Tally
from cot_distill.types import Failure, Sample, Task, Trace, Usage, Verdict

TRACE = Trace(reasoning="r", answer="a")


def report(**changes: Any) -> Report:
    fields: dict[str, Any] = {
        "path": "runs/r1",
        "teacher": "vllm:m",
        "models": {"big-model": 8},
        "tasks": 1000,
        "asked": 1234,
        "samples": 1200,
        "passed": 1100,
        "wrong": 90,
        "unjudged": 10,
        "failures": {"truncated": 30, "refused": 4},
        "prompt_tokens": 5000,
        "completion_tokens": 700_000,
        "reasoning_tokens": 600_000,
        "answer_tokens": 100_000,
        "retries": 17,
        "asked_again": 3,
        "skipped": 2,
        "sessions": 3,
        "killed": 1,
        "abandoned": 8,
        "seconds": 61.7,
    }
    return Report(**{**fields, **changes})


def sample(number: int = 0, passed: bool | None = None, **fields: Any) -> Sample:
    verdicts = () if passed is None else (Verdict(by="v", passed=passed),)
    return Sample(task=Task(id=number, instruction="q"), trace=TRACE, verdicts=verdicts, **fields)


def failure(number: int, kind: str = "http", **fields: Any) -> Failure:
    return Failure(task=Task(id=number, instruction="q"), stage="request", kind=kind, message="no", **fields)


OUTCOMES = st.one_of(
    st.builds(sample, st.just(0), st.sampled_from([True, False, None])),
    st.builds(failure, st.just(0), st.sampled_from(["truncated", "http", "a kind of one's own"])),
)


@given(st.lists(st.lists(OUTCOMES, min_size=1, max_size=3), max_size=6))
def test_every_attempt_is_counted_once(tasks: list[list[Sample | Failure]]) -> None:
    tally = Tally()
    outcomes = [
        one.model_copy(update={"task": Task(id=number, instruction="q")})
        for number, attempts in enumerate(tasks)
        for one in attempts
    ]
    tally.outcomes(outcomes)
    samples = [one for one in outcomes if isinstance(one, Sample)]
    assert tally.asked == len(outcomes) == tally.samples + tally.failures.total()
    assert tally.samples == len(samples)
    assert tally.tasks == len(tasks)
    assert (tally.passed, tally.wrong) == tuple(sum(one.passed is v for one in samples) for v in (True, False))
    assert tally.failures == Counter(one.kind for one in outcomes if isinstance(one, Failure))


def test_the_tasks_1_and_text_1_are_two() -> None:
    tally = Tally()
    tally.outcomes([sample(1), sample("1"), sample(0)])  # type: ignore[arg-type]
    assert tally.tasks == 3


def test_tokens_of_samples_failures_and_replaced_answers_are_added() -> None:
    tally = Tally()
    tally.outcomes(
        [
            sample(usage=Usage(prompt_tokens=1, completion_tokens=10, reasoning_tokens=7)),
            failure(1, usage=Usage(prompt_tokens=2, completion_tokens=20, reasoning_tokens=20)),
            failure(2),  # no answer came: nothing is known, and nothing is missing
        ]
    )
    tally.usage(Usage(prompt_tokens=4, completion_tokens=40, reasoning_tokens=10))
    assert (tally.prompt_tokens, tally.completion_tokens) == (7, 70)
    assert (tally.reasoning_known, tally.reasoning_tokens, tally.answer_tokens) == (True, 37, 33)


def test_reasoning_that_one_answer_does_not_count_is_not_known_for_the_whole() -> None:
    tally = Tally()
    for usage in (Usage(completion_tokens=10, reasoning_tokens=7), Usage(completion_tokens=10)):
        tally.usage(usage)
    assert tally.completion_tokens == 20
    assert not tally.reasoning_known


def test_models_are_counted_as_the_server_names_them() -> None:
    tally = Tally()
    tally.outcomes([sample(model="a"), sample(1, model="b"), sample(2, model="a"), sample(3)])
    assert tally.models == {"a": 2, "b": 1, "?": 1}


def test_the_whole_report_as_text() -> None:
    assert str(report()).splitlines() == [
        "run            runs/r1",
        "teacher        vllm:m (big-model)",
        "asked          1,234 attempts at 1,000 tasks",
        "samples        1,200",
        "  verified     1,100 passed, 90 wrong, 10 not judged",
        "tasks          0 solved, 0 never solved",
        "failures       34",
        "  truncated    30",
        "  refused      4",
        "tokens         5,000 prompt, 700,000 completion (600,000 reasoning, 100,000 answer)",
        "cost           not known",
        "  per passed   1.12 attempts, 641 tokens",
        "retries        17",
        "asked again    3",
        "skipped input  2 rows",
        "given up       at most 8 requests under way when a session was cut off",
        "time           61.7 s, 20.0 attempts/s in 3 sessions, 1 of them killed",
    ]


def test_what_did_not_happen_is_not_mentioned() -> None:
    quiet = report(
        passed=0, wrong=0, failures={}, reasoning_tokens=None, answer_tokens=None, asked_again=0, skipped=0,
        sessions=1, killed=0, abandoned=0, models={"?": 3}, cost=1.25,
    )  # fmt: skip
    rows = dict(quiet.rows())
    assert rows.keys() == {"run", "teacher", "asked", "samples", "failures", "tokens", "cost", "retries", "time"}
    assert rows["teacher"] == "vllm:m"
    assert rows["tokens"] == "5,000 prompt, 700,000 completion"
    assert rows["cost"] == "$1.2500"
    assert rows["time"] == "61.7 s, 20.0 attempts/s"


def test_a_run_without_time_has_no_rate() -> None:
    assert report(seconds=0).rate == 0
    assert report(seconds=2, asked=5).rate == 2.5


def test_in_a_notebook_names_from_outside_are_escaped() -> None:
    page = report(teacher="<script>", models={"a&b": 1}, failures={"<b>": 1})._repr_html_()
    assert "&lt;script&gt; (a&amp;b)" in page
    assert "&lt;b&gt;" in page
    assert "<script>" not in page
    assert page.count("<tr>") == page.count("</tr>") == len(report(failures={"<b>": 1}).rows())


def test_a_report_survives_being_written_as_json() -> None:
    assert Report.model_validate_json(report().model_dump_json()) == report()


def test_what_verifiers_and_exports_add() -> None:
    stages = (("not wrong", 1200, 1110), ("dedup", 1110, 1000))
    rows = report(
        rejected={"exact": 80, "length": 12}, solved=900, unsolved=70, suspects=3, judging_tokens=4321, cost=11.0,
        funnel=tuple(Stage(name=name, came_in=came, went_out=went) for name, came, went in stages),
    ).rows()  # fmt: skip
    expected = {
        "  wrong by exact": "80",
        "  wrong by length": "12",
        "tasks": "900 solved, 70 never solved; 3 with a doubtful reference answer",
        "  for judging": "4,321 more",
        "  per passed": "1.12 attempts, 645 tokens, $0.010000",
        "exported": "1,000 of 1,200 samples",
        "  not wrong": "1,200 in, 1,110 out",
        "  dedup": "1,110 in, 1,000 out",
    }
    assert dict(rows).items() >= expected.items()


def test_each_rejection_is_counted_under_the_name_of_its_verifier() -> None:
    verdicts = (
        Verdict(by="a", passed=False),
        Verdict(by="b", passed=False),
        Verdict(by="b", passed=False),
        Verdict(by="c", passed=None),
    )
    tally = Tally()
    tally.outcomes(
        [sample(0, True), sample().model_copy(update={"verdicts": verdicts}), sample(1, False), failure(2)]
    )
    assert tally.rejected == {"a": 1, "b": 1, "v": 1}
    assert (tally.solved, tally.unsolved, tally.suspects) == (1, 2, 0)
