"""Preference pairs say what the verdicts say, never the same twice, and always in the same layout on both sides."""

from __future__ import annotations

import json
import logging
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import Distiller, Sample, Task, Trace, Verdict, pairs, sources, trace, verifiers, writers
from cot_distill.errors import ConfigError
from cot_distill.teachers.demo import DemoTeacher


def sample(
    answer: str = "4",
    passed: bool | None = True,
    *,
    reasoning: str = "2 and 2 make 4.",
    attempt: int = 0,
    task: Task | int = 0,
    about: Any = "answer",
) -> Sample:
    verdict = Verdict(by="check", passed=passed, about=about)
    if isinstance(task, int):
        task = Task(id=task, instruction=f"What is 2 + {task}?")
    whole = Trace(reasoning=reasoning, answer=answer)
    return Sample(task=task, trace=whole, verdicts=(verdict,), attempt=attempt)


def attempts(*given: tuple[str, bool | None], task: int = 0) -> list[Sample]:
    """Samples of one task, by their texts and verdicts."""
    return [sample(answer, passed, attempt=i, task=task) for i, (answer, passed) in enumerate(given)]


def of_length(*lengths: int, passed: bool = True, task: int = 0) -> list[Sample]:
    return [
        sample(f"{i}", passed, reasoning="x" * length, attempt=i, task=task, about=None)
        for i, length in enumerate(lengths)
    ]


def met(rows: Iterator[Any]) -> list[tuple[str, int, int]]:
    return [(row["pair"], row["chosen_attempt"], row["rejected_attempt"]) for row in rows]


# --- dpo: which pairs ---


def test_right_against_wrong() -> None:
    (row,) = pairs.dpo(attempts(("5", False), ("4", True)))
    assert row == {
        "prompt": [{"role": "user", "content": "What is 2 + 0?"}],
        "chosen": [{"role": "assistant", "content": "<think>\n2 and 2 make 4.\n</think>\n\n4"}],
        "rejected": [{"role": "assistant", "content": "<think>\n2 and 2 make 4.\n</think>\n\n5"}],
        "id": 0,
        "pair": "verdict",
        "chosen_attempt": 1,
        "rejected_attempt": 0,
    }


def test_only_samples_of_the_same_task_meet() -> None:
    mixed = attempts(("5", False), ("4", True), task=1)
    samples = [*mixed, sample("6", True, task=2), sample("7", False, task=3)]
    assert [row["id"] for row in pairs.dpo(samples)] == [1]


def test_the_first_pairs_of_a_task_use_each_sample_once() -> None:
    samples = attempts(("4", True), ("5", False), ("four", True), ("6", False), ("IV", True))
    assert met(pairs.dpo(samples, per_task=2)) == [("verdict", 0, 1), ("verdict", 2, 3)]
    every = met(pairs.dpo(samples, by=["verdict"], per_task=None))
    assert len(every) == len(set(every)) == 6
    assert every[:2] == [("verdict", 0, 1), ("verdict", 2, 3)]


def test_short_against_long() -> None:
    samples = of_length(30, 10, 40, 11)
    assert met(pairs.dpo(samples)) == [("length", 1, 2)]
    assert met(pairs.dpo(samples, per_task=2)) == [("length", 1, 2), ("length", 3, 0)]
    every = met(pairs.dpo(samples, per_task=None))
    assert set(every) == {("length", 1, 2), ("length", 3, 0), ("length", 1, 0), ("length", 3, 2)}
    assert len(every) == 4
    assert met(pairs.dpo(samples, min_ratio=4)) == [("length", 1, 2)]
    assert len(met(pairs.dpo(samples, min_ratio=1.01, per_task=None))) == 6


def test_the_first_pair_by_length_is_the_shortest_against_the_longest() -> None:
    assert met(pairs.dpo(of_length(20, 10, 40, 30))) == [("length", 1, 2)]


def test_wrong_samples_are_no_pair_by_length() -> None:
    with pytest.raises(ConfigError, match="nothing is right"):
        list(pairs.dpo(of_length(10, 100, passed=False)))


def test_the_kinds_take_turns_in_the_order_given() -> None:
    samples = [*of_length(10, 100), sample("no", False, attempt=2)]
    assert met(pairs.dpo(samples)) == [("verdict", 0, 2)]
    assert met(pairs.dpo(samples, by=("length", "verdict"))) == [("length", 0, 1)]
    assert met(pairs.dpo(samples, per_task=None)) == [("verdict", 0, 2), ("verdict", 1, 2), ("length", 0, 1)]


def test_equal_texts_never_meet() -> None:
    again = [sample("4", True, attempt=i, reasoning=text) for i, text in enumerate(["a b", "a  b\n", "a\nb"])]
    wrong = sample("5", False, attempt=3)
    assert met(pairs.dpo([*again, wrong], per_task=None)) == [("verdict", 0, 3)]


def test_a_text_found_right_and_wrong_is_neither() -> None:
    torn = attempts(("4", True), ("4", False), ("5", False))
    with pytest.raises(ConfigError, match=r"there is no pair \(1 tasks, 1 samples right, 2 wrong, 0 not judged\)"):
        list(pairs.dpo(torn))
    assert [row["label"] for row in pairs.kto(torn)] == [False]


def test_a_text_that_could_not_be_judged_once_counts_as_judged() -> None:
    assert met(pairs.dpo(attempts(("4", None), ("4", True), ("5", False)))) == [("verdict", 1, 2)]


@pytest.mark.parametrize(("about", "pairs_made"), [("answer", 0), ("quality", 1), (None, 1)])
def test_the_same_answer_found_right_and_wrong_is_a_mistake(about: Any, pairs_made: int) -> None:
    right = sample("It is \\boxed{1,234}", True, reasoning="Right so.", attempt=0)
    wrong = sample("Answer: 1234.", False, reasoning="Odd way.", attempt=1, about=about)
    assert len(list(pairs.dpo([right, wrong, *attempts(("4", True), ("5", False), task=2)]))) == pairs_made + 1


def test_unjudged_samples_are_in_no_pair_by_verdict_or_length() -> None:
    unjudged = [sample("a", None, reasoning="x" * length, attempt=length) for length in (1, 100)]
    with pytest.raises(ConfigError, match="2 not judged"):
        list(pairs.dpo([*unjudged, sample("5", False)]))


def test_the_same_samples_give_the_same_rows() -> None:
    samples = [s for task in range(5) for s in attempts(("4", True), ("5", False), ("6", False), task=task)]
    assert list(pairs.dpo(samples, per_task=None)) == list(pairs.dpo(iter(samples), per_task=None))


texts = st.text(st.sampled_from("ab \n4"), min_size=1, max_size=8).filter(str.strip)
judged = st.builds(
    sample,
    texts,
    st.sampled_from([True, False, None]),
    reasoning=texts,
    task=st.integers(0, 3),
    about=st.sampled_from(["answer", "quality", None]),
)


@given(st.lists(judged, max_size=12), st.sampled_from([None, 1, 2]), st.sampled_from([1.5, 3]))
def test_what_holds_for_every_pair(found: list[Sample], per_task: int | None, min_ratio: float) -> None:
    found = sorted(found, key=lambda one: int(one.task.id))
    found = [one.model_copy(update={"attempt": i}) for i, one in enumerate(found)]
    rows = []
    try:
        for row in pairs.dpo(found, per_task=per_task, min_ratio=min_ratio, style="plain"):
            rows.append(row)
    except ConfigError:
        assert not rows
    seen = set()
    for row in rows:
        chosen, rejected = found[row["chosen_attempt"]], found[row["rejected_attempt"]]
        assert chosen.task.id == rejected.task.id == row["id"]
        assert chosen.passed is True
        assert row["chosen"].split() != row["rejected"].split()
        assert trace.split(row["chosen"]) == chosen.trace
        assert trace.split(row["rejected"]) == rejected.trace
        if row["pair"] == "verdict":
            assert rejected.passed is False
        else:
            assert rejected.passed is True
            assert len(rejected.trace.reasoning) >= min_ratio * len(chosen.trace.reasoning)
        seen.add(frozenset((chosen.attempt, rejected.attempt)))
    assert len(seen) == len(rows)
    by_task = [row["id"] for row in rows]
    assert by_task == sorted(by_task)
    assert per_task is None or all(by_task.count(task) <= per_task for task in by_task)


# --- dpo: a judge ---


def longer_answer(task: Task, one: Trace, other: Trace) -> int | None:
    difference = len(one.answer) - len(other.answer)
    return difference or None


async def slowly(task: Task, one: Trace, other: Trace) -> int | None:
    await anyio.sleep(0.001)
    return longer_answer(task, one, other)


@pytest.mark.parametrize("better", [longer_answer, slowly])
@pytest.mark.parametrize("passed", [True, None])
def test_a_judge_prefers(better: Any, passed: bool | None) -> None:
    samples = [
        *attempts(("a", passed), ("bbb", passed), ("cc", passed), ("d", passed), ("e", passed), task=1),
        *attempts(("a", passed), ("b", passed), task=2),
        *attempts(("no", False), ("no!", False), task=3),
    ]
    assert met(pairs.dpo(samples, by=["judge"], better=better)) == [("judge", 1, 0)]
    assert met(pairs.dpo(samples, by=["judge"], better=better, per_task=5)) == [("judge", 1, 0), ("judge", 2, 3)]


def test_a_judge_is_asked_no_more_often_than_there_may_be_pairs() -> None:
    asked: list[tuple[Any, str, str]] = []

    def undecided(task: Task, one: Trace, other: Trace) -> int:
        asked.append((task.id, one.answer, other.answer))
        return 0

    samples = [*attempts(*((f"{i}", True) for i in range(6)), task=1), *attempts(("4", True), ("5", False), task=2)]
    assert met(pairs.dpo(samples, by=("verdict", "judge"), better=undecided, per_task=2)) == [("verdict", 0, 1)]
    assert asked == [(1, "0", "1"), (1, "2", "3")]


def test_a_judge_does_not_contradict_another_kind() -> None:
    samples = of_length(10, 100)
    rows = pairs.dpo(samples, by=("length", "judge"), better=lambda *_: -1, per_task=None)
    assert met(rows) == [("length", 0, 1)]


class Judge:
    """Must be entered before it is asked, as one with connections."""

    inside = False

    async def __aenter__(self) -> None:
        self.inside = True

    async def __aexit__(self, *_: object) -> None:
        self.inside = False

    async def __call__(self, task: Task, one: Trace, other: Trace) -> int:
        assert self.inside
        return -1


def test_a_judge_is_entered() -> None:
    samples = [s for task in (1, 2) for s in attempts(("a", True), ("b", True), task=task)]
    judge = Judge()
    assert met(pairs.dpo(samples, by=["judge"], better=judge)) == [("judge", 1, 0)] * 2
    assert not judge.inside


def test_what_a_judge_raises_surfaces_as_it_is() -> None:
    async def fails(task: Task, one: Trace, other: Trace) -> int:
        raise ZeroDivisionError("no judge")

    with pytest.raises(ZeroDivisionError, match="no judge"):
        list(pairs.dpo(attempts(("a", True), ("b", True)), by=["judge"], better=fails))


# --- kto ---


def test_every_judged_sample_once() -> None:
    samples = [*attempts(("5", False), ("4", True), ("4", True), ("x", None), task=1), *attempts(("6", True), task=2)]
    rows = list(pairs.kto(samples))
    assert [(row["id"], row["attempt"], row["label"]) for row in rows] == [(1, 0, False), (1, 1, True), (2, 0, True)]
    assert rows[0]["completion"] == [{"role": "assistant", "content": "<think>\n2 and 2 make 4.\n</think>\n\n5"}]
    assert set(rows[0]) == {"prompt", "completion", "label", "id", "attempt"}


def test_balanced_labels() -> None:
    samples = [
        *attempts(("4", True), ("5", False), ("IV", True), ("four", True), ("6", False), task=1),
        *attempts(("6", True), task=2),
        *attempts(("5", False), ("6", False), ("4", True), task=3),
    ]
    rows = [(row["id"], row["attempt"], row["label"]) for row in pairs.kto(samples, balance=True)]
    assert rows[:4] == [(1, 0, True), (1, 1, False), (1, 2, True), (1, 4, False)]
    assert rows[4:] == [(3, 0, False), (3, 2, True)]


def test_labels_of_one_kind_are_worth_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    list(pairs.kto(attempts(("4", True))))
    assert "one label only: 1 right, 0 wrong" in caplog.text
    caplog.clear()
    list(pairs.kto(attempts(("4", True), ("5", False))))
    assert not caplog.text


# --- grpo ---


def test_prompts_with_what_to_check_against(caplog: pytest.LogCaptureFixture) -> None:
    tasks = [
        Task(id=1, instruction="2 + 2?", answer="4"),
        Task(id=2, instruction="Write f.", tests=["assert f(1) == 'ä'"]),
        Task(id=3, instruction="Write a poem.", answer=" "),
    ]
    assert list(pairs.grpo(tasks)) == [
        {"prompt": [{"role": "user", "content": "2 + 2?"}], "solution": "4", "tests": None, "id": 1},
        {
            "prompt": [{"role": "user", "content": "Write f."}],
            "solution": None,
            "tests": "[\"assert f(1) == 'ä'\"]",
            "id": 2,
        },
    ]
    assert "left out 1 tasks" in caplog.text


def test_one_prompt_for_all_attempts() -> None:
    task = Task(id=1, instruction="2 + 2?", answer="4", system="Be brief.")
    samples = [sample(task=task, attempt=i) for i in range(3)] + [sample(task=Task(instruction="3?", answer="3"))]
    rows = list(pairs.grpo(samples))
    assert [row["solution"] for row in rows] == ["4", "3"]
    assert rows[0]["prompt"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]


def test_tasks_without_anything_to_check_against() -> None:
    with pytest.raises(ConfigError, match=r"1 tasks without.*`answer` or `tests`"):
        list(pairs.grpo([Task(instruction="Write a poem.")]))
    with pytest.raises(ConfigError, match="takes tasks or samples, not str"):
        list(pairs.grpo(["2 + 2?"]))  # type: ignore[list-item]


# --- layouts ---

MIXED = attempts(("5", False), ("4", True))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_in_a_field_of_its_own_on_both_sides(field: Any) -> None:
    (row,) = pairs.dpo(MIXED, thinking=field)
    assert row["chosen"] == [{"role": "assistant", "content": "4", field: "2 and 2 make 4."}]
    assert row["rejected"] == [{"role": "assistant", "content": "5", field: "2 and 2 make 4."}]
    assert next(pairs.kto(MIXED, thinking=field))["completion"] == row["rejected"]


def test_plain_text() -> None:
    (row,) = pairs.dpo(MIXED, style="plain")
    assert (row["prompt"], row["chosen"]) == ("What is 2 + 0?", "<think>\n2 and 2 make 4.\n</think>\n\n4")
    assert next(pairs.kto(MIXED, style="plain"))["completion"] == row["rejected"]


@pytest.mark.parametrize(
    ("end", "begins"),
    [
        ("", "<think>\n2 and"),
        ("<think>", "\n2 and"),
        ("<think>\n", "2 and"),
        ("<think>\n\n", "2 and"),
        ("<think></think>", "<think>\n2 and"),
    ],
)
def test_a_prompt_of_ones_own_may_open_the_block(end: str, begins: str) -> None:
    def rendered(task: Task) -> str:
        return "".join(f"[{turn.role}] {turn.content}\n" for turn in task.prompt()) + f"[assistant] {end}"

    (row,) = pairs.dpo(MIXED, style=rendered)
    assert row["prompt"] == f"[user] What is 2 + 0?\n[assistant] {end}"
    assert row["chosen"].startswith(begins)
    assert row["rejected"].startswith(begins)
    assert next(pairs.grpo([Task(instruction="Q?", answer="4")], style=rendered))["prompt"].startswith("[user] Q?")


@pytest.mark.parametrize(
    "task",
    [
        Task(id=7, instruction="2 + 2?", system="Be brief."),
        Task(
            id=7,
            messages=[
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hi"},
                {"role": "user", "content": "2 + 2?"},
            ],
        ),
    ],
)
def test_conversations_are_no_plain_text(task: Task) -> None:
    samples = [sample("4", True, task=task), sample("5", False, task=task, attempt=1)]
    (row,) = pairs.dpo(samples)
    assert row["prompt"] == [turn.model_dump() for turn in task.prompt()]
    with pytest.raises(ConfigError, match=r"task 7 has \d turns"):
        list(pairs.dpo(samples, style="plain"))


# --- options, and nothing to show ---


@pytest.mark.parametrize("function", [pairs.dpo, pairs.kto, pairs.grpo])
@pytest.mark.parametrize(
    ("style", "says"), [("chatty", "'chatty' is neither"), (lambda task: None, "returned NoneType, not text")]
)
def test_styles_that_do_not_exist(function: Any, style: Any, says: str) -> None:
    task = Task(instruction="Q?", answer="4")
    with pytest.raises(ConfigError, match=says):
        list(function([sample("4", task=task), sample("5", False, task=task)], style=style))


@pytest.mark.parametrize("function", [pairs.dpo, pairs.kto])
def test_fields_that_do_not_exist(function: Any) -> None:
    with pytest.raises(ConfigError, match="'thoughts' is no field"):
        function(MIXED, thinking="thoughts")
    with pytest.raises(ConfigError, match="text has no fields"):
        function(MIXED, thinking="reasoning", style="plain")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"by": ()}, "must hold some of 'verdict', 'length', 'judge'"),
        ({"by": ["verdikt"]}, "must hold some of"),
        ({"by": ["judge"]}, "go together"),
        ({"better": longer_answer}, "go together"),
        ({"per_task": 0}, "at least 1"),
        ({"min_ratio": 1}, "more than 1"),
        ({"min_ratio": float("nan")}, "more than 1"),
    ],
)
def test_options_are_looked_at_before_the_samples(options: dict[str, Any], says: str) -> None:
    def must_not_be_read() -> Iterator[Sample]:
        raise AssertionError
        yield

    with pytest.raises(ConfigError, match=says):
        pairs.dpo(must_not_be_read(), **options)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], r"0 tasks.*no sample came in"),
        (attempts(("4", None)), r"1 not judged\): give the Distiller `verifiers"),
        (attempts(("4", True), ("four", True)), r"2 samples right.*pass run\.samples\(\).*`attempts=8`.*`min_ratio`"),
        (attempts(("5", False)), r"1 wrong.*nothing is right"),
        ([sample("4", task=1), sample("5", False, task=2)], r"2 tasks, 1 samples right, 1 wrong.*`attempts=8`"),
    ],
)
def test_no_pair_at_all(samples: Sequence[Sample], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        writers.jsonl(tmp_path / "dpo.jsonl")(pairs.dpo(samples))
    assert not (tmp_path / "dpo.jsonl").exists()


def test_no_label_at_all() -> None:
    with pytest.raises(ConfigError, match=r"no sample with a label .*verifiers"):
        list(pairs.kto(attempts(("4", None))))
    with pytest.raises(ConfigError, match="leave out `balance`"):
        list(pairs.kto(attempts(("4", True), ("5", None)), balance=True))


def test_samples_in_another_order_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    by_attempt = [
        sample("4" if right else "5", right, attempt=attempt, task=task)
        for attempt, right in enumerate((True, False))
        for task in range(40)
    ]
    with pytest.raises(ConfigError, match=r"40 wrong.*must stand side by side, as run\.samples\(\) gives them$"):
        list(pairs.dpo(by_attempt))
    assert caplog.text.count("comes a second time: the samples of a task must stand side by side") == 1
    caplog.clear()
    assert len(list(pairs.dpo(sorted(by_attempt, key=lambda one: int(one.task.id))))) == 40
    assert not caplog.records
    assert len(list(pairs.kto(by_attempt))) == 80
    assert len(caplog.records) == 1


# --- a whole run ---


def test_rows_of_a_run_go_through_every_writer(tmp_path: Path) -> None:
    import datasets

    distiller = Distiller(DemoTeacher(latency=0), attempts=4, verifiers=[verifiers.exact()])
    run = distiller.run(sources.demo_tasks(30), tmp_path / "run", progress=False)
    samples = list(run.samples())
    both = {s.task.id for s in samples if s.passed} & {s.task.id for s in samples if s.passed is False}
    assert len(both) > 3
    made = {"dpo": pairs.dpo, "kto": pairs.kto, "grpo": pairs.grpo}
    for name, function in made.items():
        path = writers.jsonl(tmp_path / f"{name}.jsonl")(function(run.samples()))
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert rows == list(function(run.samples()))
        loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=tmp_path / "cache")
        assert loaded.to_list() == rows
        parquet = writers.parquet(tmp_path / f"{name}.parquet")(function(run.samples()))
        assert datasets.Dataset.from_parquet(str(parquet), cache_dir=tmp_path / "cache").to_list() == rows
    assert {row["id"] for row in pairs.dpo(run.samples())} == both
    assert {row["label"] for row in pairs.kto(run.samples())} == {True, False}
    assert len(list(pairs.grpo(run.samples()))) == len({s.task.id for s in samples}) == 30


def test_memory_does_not_grow_with_the_number_of_tasks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    def stream(tasks: int) -> Iterator[Sample]:
        for task in range(tasks):
            yield from attempts(("4", True), ("5" * 2000, False), ("6", None), task=task)

    peaks = []
    for tasks in (50, 400):
        tracemalloc.start()
        assert sum(1 for _ in pairs.dpo(stream(tasks))) == tasks
        assert sum(1 for _ in pairs.kto(stream(tasks))) == 2 * tasks
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
