"""A run read back: datasets are views of it, and the same run gives the same rows."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from cot_distill import Distiller, Sampling, Task, filters, formatters, verifiers, writers
from cot_distill.errors import ConfigError, RunError, VerifierError
from cot_distill.ledger import Ledger
from cot_distill.records import Slot
from cot_distill.run import Run
from cot_distill.sources import demo_tasks
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Completion, Failure, Message, Sample, Trace, Verdict


def echo(messages: Sequence[Message]) -> Trace:
    return Trace(reasoning=f"thinking about {messages[-1].content}", answer=f"answer to {messages[-1].content}")


def tasks(number: int) -> list[Task]:
    return [Task(id=n, instruction=f"question {n}", metadata={"n": n}) for n in range(number)]


def even(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="even", passed=int(task.id) % 2 == 0)


def crash(task: Task, trace: Trace) -> Verdict:
    raise ZeroDivisionError("bug")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Six tasks; the odd ones are wrong."""
    return Distiller(ScriptedTeacher(echo), verifiers=[even]).run(tasks(6), tmp_path / "run", progress=False)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Opening


def test_a_run_is_opened_anywhere(run: Run) -> None:
    opened = Run.open(str(run.path))
    assert list(opened.samples()) == list(run.samples())
    assert opened.recipe == run.recipe
    assert repr(opened) == f"Run({str(run.path)!r}, teacher='scripted')"


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_what_is_no_run_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match=r"is no run directory: there is no run\.json in it"):
        Run.open(tmp_path / name)


def test_reading_leaves_the_directory_as_it_is(run: Run, tmp_path: Path) -> None:
    before = {path.name: digest(path) for path in run.path.iterdir()}
    run.to_jsonl(tmp_path / "a.jsonl")
    run.report()
    run.card()
    list(Run.open(run.path).failures())
    assert {path.name: digest(path) for path in run.path.iterdir()} == before


def test_a_torn_last_record_is_not_seen(run: Run) -> None:
    segment = run.path / "journal-00000.jsonl"
    segment.write_bytes(segment.read_bytes() + b'{"kind":"completion","key":"00')
    assert [sample.task.id for sample in Run.open(run.path).samples()] == list(range(6))


def test_a_run_that_another_process_writes_shows_what_was_there(tmp_path: Path) -> None:
    seen: list[int] = []

    class Watching(ScriptedTeacher):
        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            opened = Run.open(tmp_path / "run")
            seen.append(opened.report().samples)
            assert seen[-1] == len(list(opened.samples()))
            return await super().complete(messages, sampling)

    Distiller(Watching(echo), concurrency=1).run(tasks(4), tmp_path / "run", progress=False)
    assert seen == [0, 1, 2, 3]


KILLED = """
import sys
from cot_distill import Distiller
from cot_distill.testing import ScriptedTeacher
teacher = ScriptedTeacher(lambda messages: ("r", messages[-1].content), latency=0.01)
Distiller(teacher, concurrency=4).run((f"question {n}" for n in range(100_000)), sys.argv[1], progress=False)
"""


def test_the_report_adds_up_over_a_session_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)]) as process:
        segment = path / "journal-00000.jsonl"
        until = time.monotonic() + 20
        while not segment.exists() or segment.stat().st_size < 5000:
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    report = Run.open(path).report()
    assert (report.sessions, report.killed, report.abandoned) == (1, 1, 4)
    assert report.asked == report.samples > 3
    assert 0 < report.seconds < 20
    teacher = ScriptedTeacher(echo)
    asked = report.samples + 10
    finished = Distiller(teacher).run([f"question {n}" for n in range(asked)], path, progress=False).report()
    assert (finished.sessions, finished.killed, finished.abandoned) == (2, 1, 4)
    assert len(teacher.calls) <= 10 + 4
    assert finished.asked == finished.samples == asked
    assert "in 2 sessions, 1 of them killed" in str(finished)


# Export


@pytest.mark.parametrize("writer", [writers.jsonl, writers.parquet])
def test_the_same_run_gives_the_same_bytes(run: Run, tmp_path: Path, writer: Any) -> None:
    first = run.export(writer(tmp_path / "first"))
    second = Run.open(run.path).export(writer(tmp_path / "second"))
    assert digest(first) == digest(second)
    assert first.stat().st_size > 100


def test_the_order_is_that_of_the_input_whatever_came_first(tmp_path: Path) -> None:
    class Late(ScriptedTeacher):
        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            await anyio.sleep(0.03 - 0.003 * int(messages[-1].content.split()[-1]))
            return await super().complete(messages, sampling)

    one, many = (
        Distiller(Late(echo), attempts=2, concurrency=workers).run(tasks(8), tmp_path / f"{workers}", progress=False)
        for workers in (1, 16)
    )
    lines = (tmp_path / "16" / "journal-00000.jsonl").read_bytes().splitlines()
    written = [record["order"] for record in map(json.loads, lines) if "task" in record]
    assert written != sorted(written)  # or this test showed nothing
    assert [(sample.task.id, sample.attempt) for sample in many.samples()] == [
        (n, attempt) for n in range(8) for attempt in range(2)
    ]
    assert digest(one.to_jsonl(tmp_path / "one.jsonl")) == digest(many.to_jsonl(tmp_path / "many.jsonl"))


def test_filters_are_applied_in_their_order_and_see_only_what_is_not_wrong(run: Run) -> None:
    seen: list[object] = []

    def last_two(samples: Iterable[Sample]) -> Iterator[Sample]:
        chosen = list(samples)
        seen.append([sample.task.id for sample in chosen])
        return iter(chosen[-2:])

    def ids(rows: Iterable[Any]) -> list[object]:
        return [row["id"] for row in rows]

    assert run.export(ids, last_two, filters.limit(1), formatter=formatters.alpaca) == [2]
    assert run.export(ids, filters.limit(1), last_two, formatter=formatters.alpaca) == [0]
    assert seen == [[0, 2, 4], [0]]
    assert run.export(ids, formatter=formatters.alpaca, include_wrong=True) == [0, 1, 2, 3, 4, 5]


def test_a_filter_that_has_enough_stops_the_reading(run: Run) -> None:
    formatted: list[object] = []

    def formatter(sample: Sample) -> dict[str, Any]:
        formatted.append(sample.task.id)
        return {"id": sample.task.id}

    assert run.export(lambda rows: list(rows), filters.limit(2), formatter=formatter) == [{"id": 0}, {"id": 2}]
    assert formatted == [0, 2]


def test_a_formatter_of_ones_own(run: Run, tmp_path: Path) -> None:
    def question_only(sample: Sample) -> dict[str, Any]:
        return {"q": sample.task.instruction, "n": sample.task.metadata["n"], "ok": sample.passed}

    path = run.to_jsonl(tmp_path / "rows.jsonl", formatter=question_only)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"q": f"question {n}", "n": n, "ok": True} for n in (0, 2, 4)
    ]


def test_export_returns_what_the_writer_returns_and_lets_its_errors_out(run: Run, tmp_path: Path) -> None:
    assert run.export(lambda rows: sum(1 for _ in rows)) == 3
    (tmp_path / "rows.jsonl").write_text("as it was")

    def broken(sample: Sample) -> dict[str, Any]:
        if sample.task.id == 4:
            raise KeyError("my formatter")
        return {}

    with pytest.raises(KeyError, match="my formatter"):
        run.to_jsonl(tmp_path / "rows.jsonl", formatter=broken)
    assert (tmp_path / "rows.jsonl").read_text() == "as it was"


def test_an_empty_export_is_an_error_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run has no row to write: `limit\(0\)` kept none of the samples$"):
        run.to_jsonl(tmp_path / "rows.jsonl", filters.limit(0))
    assert not (tmp_path / "rows.jsonl").exists()


def test_as_a_dataset(run: Run) -> None:
    dataset = run.to_dataset(formatter=formatters.prompt_completion)
    assert dataset.column_names == ["prompt", "completion"]
    assert [row["prompt"][0]["content"] for row in dataset] == [f"question {n}" for n in (0, 2, 4)]
    assert dataset[0]["completion"][0]["content"] == (
        "<think>\nthinking about question 0\n</think>\n\nanswer to question 0"
    )
    assert len(run.to_dataset(include_wrong=True)) == 6
    assert len(run.to_dataset(filters.limit(1))) == 1
    # A view of what is there now, not of what once was: the run grows, and so does the dataset.
    Distiller(ScriptedTeacher(echo), verifiers=[even]).run(tasks(10), run.path, progress=False)
    assert len(run.to_dataset()) == 5


def test_rows_of_the_demo_are_not_for_the_hub(tmp_path: Path) -> None:
    run = Distiller("demo").run(demo_tasks(2), tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match="written by a program, not by a model"):
        run.push_to_hub("somebody/something", token="no token")
    assert "cot-distill-demo" in run.card()


# Compressing


def test_a_compacted_run_is_smaller_and_the_same_and_goes_on(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    run = Distiller(ScriptedTeacher(echo), verifiers=[even]).run(tasks(200), run.path, progress=False)
    samples, report = list(run.samples()), run.report()
    before = digest(run.to_jsonl(tmp_path / "before.jsonl"))
    size = sum(file.stat().st_size for file in run.path.iterdir())
    freed = run.compact()
    assert sum(file.stat().st_size for file in run.path.iterdir()) == size - freed < size / 2
    assert (list(run.samples()), Run.open(run.path).report()) == (samples, report)
    assert digest(Run.open(run.path).to_jsonl(tmp_path / "after.jsonl")) == before
    teacher = ScriptedTeacher(echo)
    again = Distiller(teacher, verifiers=[even]).run(tasks(203), run.path, progress=False)
    assert len(teacher.calls) == 3
    assert again.report().samples == 203
    again.judge(even)
    assert again.compact() > 0
    assert [sample.task.id for sample in again.samples()] == list(range(203))


def test_a_run_in_use_cannot_be_compacted(run: Run) -> None:
    with Ledger(run.path, writable=True), pytest.raises(RunError, match="in use by process"):
        run.compact()


# Judging and asking again


def test_judging_again_adds_verdicts_or_replaces_them_and_is_remembered(run: Run) -> None:
    def long(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="long", passed=int(task.id) > 3)

    assert run.judge(long) is run
    opened = Run.open(run.path)
    assert [[(verdict.by, verdict.passed) for verdict in sample.verdicts] for sample in opened.samples()] == [
        [("even", number % 2 == 0), ("long", number > 3)] for number in range(6)
    ]
    assert opened.recipe.verifiers == run.recipe.verifiers == ("even", "long")
    report = opened.report()
    assert (report.samples, report.passed, report.wrong) == (6, 1, 5)
    report = run.judge(long, keep=False).report()
    assert run.recipe.verifiers == ("long",)
    assert (report.samples, report.passed, report.wrong) == (6, 2, 4)


def test_adding_a_verifier_never_brings_wrong_samples_into_a_dataset(run: Run) -> None:
    rows = run.export(lambda rows: sum(1 for _ in rows), filters.passed)
    run.judge(*verifiers.quality())
    assert run.export(lambda rows: sum(1 for _ in rows), filters.passed) == rows == 3


def test_an_export_from_before_says_nothing_once_the_verdicts_are_others(run: Run) -> None:
    run.export(list, filters.passed)
    assert run.report().funnel
    with pytest.raises(VerifierError):
        run.judge(crash)
    assert run.report().funnel == ()
    assert "exported" not in str(run.report())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), r"judge\(\) needs at least one verifier, such as verifiers\.exact\(\)"),
        ((None,), r"judge\(\) was given None, which is no verifier: give one such as verifiers\.exact\(\)"),
        (("exact",), r"judge\(\) was given 'exact', which is no verifier"),
        ((verifiers.exact,), r"judge\(\) was given verifiers\.exact, which makes a verifier: call it"),
        ((verifiers.length,), r"judge\(\) was given verifiers\.length, which makes a verifier: call it"),
        ((verifiers.quality(),), r"judge\(\) was given a tuple .*put a star before it.*\*verifiers\.quality\(\)"),
        ((even, [even]), r"judge\(\) was given a list .*put a star before it"),
        ((lambda task: task,), r"function <lambda>, which cannot be called with a task and a trace"),
        ((Verdict,), r"class Verdict, which cannot be called with a task and a trace"),
    ],
)
def test_what_is_no_verifier_is_refused_before_anything_is_judged(
    run: Run, given: Any, says: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        run.judge(*given)
    assert len(str(caught.value)) < 250
    assert capsys.readouterr() == ("", "")
    assert not caplog.records
    assert [sample.passed for sample in run.samples()] == [True, False] * 3


def test_judging_with_a_broken_verifier_is_an_error(run: Run) -> None:
    with pytest.raises(VerifierError, match="ZeroDivisionError: bug"):
        run.judge(crash)
    assert run.recipe.verifiers == ("even",)


def test_a_run_in_use_can_be_read_but_not_judged(run: Run) -> None:
    with Ledger(run.path, writable=True):
        assert len(list(run.samples())) == 6
        with pytest.raises(RunError, match="in use by process"):
            run.judge(even)
        with pytest.raises(RunError, match="in use by process"):
            run.reask()


def test_asking_again_by_kind(tmp_path: Path) -> None:
    def script(messages: Sequence[Message]) -> Completion:
        number = int(messages[-1].content.split()[-1])
        reason = ("stop", "length", "refused")[number % 3]
        return Completion(reasoning="r", content="a", finish_reason=reason, trace_kind="full")

    path = tmp_path / "run"
    run = Distiller(ScriptedTeacher(script)).run(tasks(9), path, progress=False)
    assert run.reask("timeout") == 0
    assert run.reask("truncated") == 3
    assert run.report().failures == {"truncated": 3, "refused": 3}  # until there are new answers
    teacher = ScriptedTeacher(echo)
    again = Distiller(ScriptedTeacher(echo, name="scripted")).run(tasks(9), path, progress=False)
    assert again.report().failures == {"refused": 3}
    assert again.reask() == 3
    Distiller(teacher).run(tasks(9), path, progress=False)
    assert sorted(call.prompt for call in teacher.calls) == ["question 2", "question 5", "question 8"]
    assert again.report().samples == 9


def test_failures_can_be_listed_in_order(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda messages: Completion(reasoning="r", finish_reason="length"))
    run = Distiller(teacher, attempts=2).run(tasks(3), tmp_path / "run", progress=False)
    assert not list(run.samples())
    failures = list(run.failures())
    assert [(failure.task.id, failure.attempt) for failure in failures] == [(n, k) for n in range(3) for k in (0, 1)]
    assert {(failure.stage, failure.kind, failure.teacher) for failure in failures} == {
        ("parse", "truncated", "scripted")
    }
    assert all(isinstance(failure, Failure) and failure.task.metadata for failure in failures)


def test_a_damaged_record_is_named_and_not_passed_over(tmp_path: Path) -> None:
    run = Distiller(ScriptedTeacher(echo), concurrency=1).run(tasks(100), tmp_path / "run", progress=False)
    segment = run.path / "journal-00000.jsonl"
    content = segment.read_bytes()
    # One letter of one answer, such as a bad sector leaves it: the index still fits, the checksum does not.
    place = content.index(b"answer to question 3")
    segment.write_bytes(content[:place] + b"b" + content[place + 1 :])
    start = content.rindex(b"\n", 0, place) + 1
    with pytest.raises(RunError, match=rf"journal-00000\.jsonl is damaged at byte {start}"):
        list(Run.open(run.path).samples())


def test_slots_of_tasks_that_were_never_asked_change_nothing(run: Run) -> None:
    task = Task(id="new", instruction="never asked")
    with Ledger(run.path, writable=True) as ledger:
        ledger.reopen(Slot.make(task, 0, 99, task.prompt()).head("completion"))
    assert run.report().asked == 6


def test_the_report_tells_what_the_last_export_left_of_the_samples(run: Run, tmp_path: Path) -> None:
    assert run.report().funnel == ()
    run.to_jsonl(tmp_path / "rows.jsonl", filters.passed, filters.limit(2))
    first, second, third = run.report().funnel
    assert (first.name, first.came_in, first.went_out) == ("not wrong", 3, 2)  # no further than needed
    assert (second.name, second.came_in, second.went_out) == ("passed", 2, 2)
    assert (third.came_in, third.went_out) == (2, 2)
    assert "## How the rows were chosen" in run.card()
    run.to_jsonl(tmp_path / "rows.jsonl", include_wrong=True)
    assert run.report().funnel == ()


def test_a_filter_that_must_see_wrong_samples_does_and_they_are_dropped_behind_it(run: Run, tmp_path: Path) -> None:
    seen: list[bool | None] = []

    class Looking:
        needs_wrong = True

        def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
            for sample in samples:
                seen.append(sample.passed)
                yield sample

    run.to_jsonl(tmp_path / "rows.jsonl", Looking(), filters.limit(2))
    assert seen == [True, False, True]
    assert [stage.name for stage in run.report().funnel][:2] == ["Looking", "not wrong"]
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2


def test_tasks_one_by_one(run: Run) -> None:
    assert [(task.task.id, task.solved) for task in run.tasks()] == [(n, n % 2 == 0) for n in range(6)]


def test_an_export_refuses_what_the_students_template_would_spoil(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    spoils = (Path(__file__).parent / "chat_templates/deepseek_r1_distill.jinja").read_text(encoding="utf-8")
    run = Distiller(ScriptedTeacher(echo)).run(tasks(3), tmp_path / "run", progress=False)
    with pytest.raises(ConfigError, match=r"task 0: the chat template .*formatters\.rendered"):
        run.to_jsonl(tmp_path / "train.jsonl", check=spoils)
    assert not (tmp_path / "train.jsonl").exists()
    keeps = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    assert run.to_jsonl(tmp_path / "train.jsonl", check=keeps).read_text(encoding="utf-8").count("<think>") == 3
    assert len(run.to_dataset(check=keeps)) == 3


def test_summaries_stay_out_of_datasets_unless_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def answer(messages: object) -> Completion:
        return Completion(reasoning="In short: so.", content="a", trace_kind="summary")

    run = Distiller(ScriptedTeacher(answer)).run(tasks(4), tmp_path / "run", progress=False)
    assert [record.message for record in caplog.records if "summary" in record.message] == [
        "scripted shows a summary of its reasoning, not the reasoning: these samples are kept, and left out of "
        "datasets unless you say include_summaries=True"
    ]
    assert run.report().summaries == 4
    assert "4 show no reasoning in full" in str(run.report())
    with pytest.raises(ConfigError, match=r"`reasoning in full` kept none of 4 samples: .*include_summaries=True"):
        run.to_jsonl(tmp_path / "train.jsonl")
    assert len(run.to_dataset(include_summaries=True)) == 4
    assert len(run.to_jsonl(tmp_path / "train.jsonl", include_summaries=True).read_text().splitlines()) == 4
