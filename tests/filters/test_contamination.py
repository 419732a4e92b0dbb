"""What stands in a benchmark is dropped, and it is told where it stands."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import filters
from cot_distill.errors import ConfigError, SourceError
from cot_distill.types import Sample, Task, Trace

LONG = (
    "A robe takes two bolts of blue fibre and half that much white fibre. How many bolts in total does it take? "
    "Think step by step."
)
OTHER = "Natalia sold clips to forty eight of her friends in April, and then she sold half as many clips in May."


def sample(
    instruction: str, *, task: int | str = 1, attempt: int = 0, reasoning: str = "Let me see.", answer: str = "4"
) -> Sample:
    trace = Trace(reasoning=reasoning, answer=answer)
    return Sample(task=Task(id=task, instruction=instruction), trace=trace, attempt=attempt)


def reasons(samples: list[Sample], *benchmarks: Any, **options: Any) -> list[str | None]:
    """Why each of them is dropped, in order; None for those that stay."""
    said: dict[int, str] = {}
    keep = filters.decontaminate(*benchmarks, on_drop=lambda one, why: said.update({id(one): why}), **options)
    kept = list(keep(samples))
    found = [said.get(id(one)) for one in samples]
    assert kept == [one for one, why in zip(samples, found, strict=True) if why is None]
    return found


def test_the_reason_names_benchmark_row_and_passage(tmp_path: Path) -> None:
    lines = [{"question": "Short?", "answer": "4"}, {"question": OTHER}, {"question": LONG, "answer": "3"}]
    (tmp_path / "gsm.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    asked = "Solve: a robe takes two bolts of blue fibre – and half that much white fibre!"
    found = reasons([sample(asked), sample("Solve nothing.")], ["unrelated text"], tmp_path / "gsm.jsonl")
    passage = "a robe takes two bolts of blue fibre and half that much white fibre"
    assert found == [f"the instruction has a passage of gsm.jsonl, line 3: '{passage}'", None]


def test_a_long_passage_is_shown_in_part() -> None:
    [reason] = reasons([sample(f"{LONG} {OTHER}")], {"gsm": [f"{LONG} {OTHER}"]})
    assert reason is not None
    assert reason.endswith("…'")
    assert len(reason) < 260


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_a_sample_goes_exactly_if_it_shares_a_run(one: list[str], other: list[str]) -> None:
    def runs(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[start : start + 3]) for start in range(len(words) - 2)} or {tuple(words)}

    [reason] = reasons([sample(" ".join(one))], ["x y z w", " ".join(other) or "nothing"], n=3)
    assert (reason is not None) == bool(runs(one) & runs(other))


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("instruction", [None, "instruction", None, None, None]),
        ("reasoning", [None, None, "reasoning", None, None]),
        ("answer", [None, None, None, "answer", None]),
        ("all", [None, "instruction", "reasoning", "answer", None]),
    ],
)
def test_where_one_looks(part: str, found: list[str | None]) -> None:
    samples = [
        sample("Why?", task=1),
        sample(LONG, task=2),
        sample("Why?", task=3, reasoning=LONG),
        sample("Why?", task=3, attempt=1, answer=LONG),
        sample("Why?", task=4, answer="3"),  # a short answer of a benchmark is no sign
    ]
    said = reasons(samples, [{"question": LONG, "answer": "3"}], part=part)
    assert [why.split()[1] if why else None for why in said] == found


def test_all_attempts_of_a_task_go() -> None:
    samples = [sample(text, task=task, attempt=n) for task, text in enumerate([LONG, OTHER, LONG]) for n in (0, 1)]
    assert [why is None for why in reasons(samples, [LONG])] == [False, False, True, True, False, False]


def test_fields_choose_what_is_looked_at() -> None:
    rows = [{"question": LONG, "prompt": {"turns": [OTHER]}}]
    samples = [sample(LONG, task=1), sample(OTHER, task=2)]
    for fields, dropped in [(None, [1, 2]), ("question", [1]), (["prompt"], [2]), (("prompt", "question"), [1, 2])]:
        found = reasons(samples, rows, fields=fields)
        assert [one.task.id for one, why in zip(samples, found, strict=True) if why] == dropped


def test_the_matches_are_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "matches.jsonl"
    samples = [sample(LONG, task="a", attempt=2), sample(OTHER, task=5), sample("Half a pair: \ud83d", task=6)]
    keep = filters.decontaminate({"gsm": ["x", LONG], "odd": ["half a pair: \ud83d!"]}, n=4, matches=path)
    assert not path.exists()
    for _ in range(2):  # anew for each stream
        assert [one.task.id for one in keep(samples)] == [5]
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [line.pop("passage").split()[:4] for line in lines] == [
            ["a", "robe", "takes", "two"],
            ["half", "a", "pair"],
        ]
        assert lines == [
            {"task": "a", "attempt": 2, "part": "instruction", "benchmark": "gsm", "row": 2},
            {"task": 6, "attempt": 0, "part": "instruction", "benchmark": "odd", "row": 1},
        ]
    list(keep([samples[1]]))
    assert path.read_text() == ""


def test_a_benchmark_is_read_once_and_used_again() -> None:
    keep = filters.decontaminate(text for text in [LONG])
    assert [len(list(keep([sample(LONG), sample(OTHER)]))) for _ in range(3)] == [1, 1, 1]


def test_how_much_was_read_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cot_distill"):
        keep = filters.decontaminate([LONG, OTHER], {"gsm": [OTHER]})
    assert caplog.messages == [
        "filters.decontaminate: benchmark 1: 2 rows",
        "filters.decontaminate: gsm: 1 rows",
    ]
    assert keep.__name__ == "decontaminate(benchmark 1, gsm)"


def test_what_cannot_be_a_benchmark_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one benchmark"):
        filters.decontaminate()
    with pytest.raises(ConfigError, match="at least one benchmark"):
        filters.decontaminate({})
    with pytest.raises(ConfigError, match=r"decontaminate\(n=…\)"):
        filters.decontaminate([LONG], n=0)
    with pytest.raises(ConfigError, match="'reasoning', 'answer' or 'all', not 'both'"):
        filters.decontaminate([LONG], part="both")  # type: ignore[arg-type]
    for empty in ([], ["", "  "], [{"n": 1}]):
        with pytest.raises(SourceError, match="benchmark 1: there is no text in it"):
            filters.decontaminate(empty)
    with pytest.raises(SourceError, match=r"benchmark 1, row 2: there is no field 'no'; there are 'a', 'b'"):
        filters.decontaminate(["text", {"a": "x", "b": "y"}], fields="no")
    with pytest.raises(SourceError, match=r"gsm, row 1: a row is text, a task, or an object with fields, not 7"):
        filters.decontaminate({"gsm": [7]})
