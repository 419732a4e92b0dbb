"""From samples to rows: what is no part of an export, and why there is no row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cot_distill import Distiller, Task, filters, formatters, pairs, writers
from cot_distill.errors import ConfigError
from cot_distill.run import Run
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Completion, Sample, Trace, Verdict


def tasks(number: int) -> list[Task]:
    return [Task(id=n, instruction=f"question {n}") for n in range(number)]


def even(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="even", passed=int(task.id) % 2 == 0)


def wrong(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="wrong", passed=False)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Six tasks; the odd ones are wrong."""
    teacher = ScriptedTeacher(lambda messages: Trace(reasoning="r", answer="a"))
    return Distiller(teacher, verifiers=[even]).run(tasks(6), tmp_path / "run", progress=False)


def test_an_empty_export_is_an_error_that_says_why(run: Run, tmp_path: Path) -> None:
    for chosen, says in (
        ([filters.limit(0)], r"`limit\(0\)` kept none of the samples"),
        ([filters.passed, filters.limit(0)], r"`limit\(0\)` kept none of the samples"),
        ([filters.limit(0), filters.passed], r"`limit\(0\)` kept none of the samples"),
        ([filters.passed, lambda samples: iter(())], r"`<lambda>` kept none of the samples"),
        (
            [filters.passed, filters.within_tokens(9999)],
            r"3 left after `not wrong`, 3 left after `passed`, and `within_tokens\(9999, …\)` kept none of 3 samples",
        ),
        (
            [filters.passed, filters.pass_rate(0.1, 0.9)],
            r"3 left after `passed`, and `pass_rate\(0\.1, 0\.9\)` kept none of 3 samples: .*put it before `passed`",
        ),
    ):
        with pytest.raises(ConfigError, match=rf"run has no row to write: {says}$"):
            run.to_jsonl(tmp_path / "rows.jsonl", *chosen)
    assert not (tmp_path / "rows.jsonl").exists()
    run.judge(wrong)
    with pytest.raises(ConfigError, match=r"write: `not wrong` kept none of 6 samples: .*include_wrong=True$"):
        run.to_jsonl(tmp_path / "rows.jsonl")


def test_an_empty_export_names_the_first_failure_where_there_was_no_sample(tmp_path: Path) -> None:
    asked = Distiller(ScriptedTeacher(lambda messages: Completion(finish_reason="length"))).run(
        tasks(2), tmp_path / "run", progress=False
    )
    with pytest.raises(ConfigError, match=r"no row to write: it has no samples; the first failure: truncated: "):
        asked.to_jsonl(tmp_path / "rows.jsonl", filters.limit(5))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["passed"], r"'passed' is no filter: give the function, such as filters\.passed"),
        ([None], "None is no filter"),
        ([[filters.passed]], "a list is no filter: give the filters one by one, or with a star before the list"),
        ([filters.dedup], r"filters\.dedup makes a filter: call it, as in filters\.dedup\(…\)"),
        ([formatters.alpaca], r"formatters\.alpaca is no filter: say formatter=formatters\.alpaca"),
        ([filters.shortest], r"filters\.shortest makes a filter: call it"),
        ([lambda: None], "function <lambda> is no filter"),
        ([lambda sample: sample.passed], "the filter <lambda> asks all samples for `passed`: .*one by one"),
        ([lambda sample: bool(sample)], "the filter <lambda> returned True, and not samples"),
        ([lambda samples: None], "the filter <lambda> returned None, and not samples"),
        (
            [lambda samples: [sample.trace for sample in samples]],
            "gave a Trace, and not a sample",
        ),
    ],
)
def test_what_is_no_filter_is_refused(run: Run, given: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run.export(list, *given)


def test_what_a_filter_of_ones_own_raises_surfaces_as_it_is(run: Run) -> None:
    def broken(samples: Iterable[Sample]) -> Iterator[Sample]:
        return iter([None.task for _ in samples])  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'task'"):
        run.export(list, broken)
    assert run.export(list, filters.passed, filters.clean(), filters.clean)


@pytest.mark.parametrize(
    ("writer", "formatter", "says"),
    [
        ("t.parquet", None, r"writer='t\.parquet' is a path: give writers\.jsonl\('t\.parquet'\)"),
        (Path("t.parquet"), None, "is a path"),
        (writers.parquet, None, r"writers\.parquet makes a writer: call it"),
        (None, None, "None is no writer"),
        (list, "sharegpt", r"formatter='sharegpt' is text: give the function, such as formatters\.sharegpt"),
        (list, 5, "formatter: 5 is none"),
        (list, formatters.text, r"formatters\.text makes a formatter: call it with the student's tokenizer"),
        (
            list,
            pairs.dpo,
            r"pairs\.dpo is no formatter.*'rows\.jsonl'\)\(pairs\.dpo\(run\.samples\(\)\)\)",
        ),
    ],
)
def test_what_is_no_writer_or_formatter_is_refused(run: Run, writer: Any, formatter: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run.export(writer, formatter=formatters.messages if formatter is None else formatter)
