"""The first of all that say the same stays."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import filters
from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.types import Message, Sample, Task, Trace


def sample(
    reasoning: str = "2 and 2 make 4.",
    answer: str = "4",
    *,
    task: int | str = 1,
    instruction: str = "2 + 2?",
    attempt: int = 0,
) -> Sample:
    trace = Trace(reasoning=reasoning, answer=answer)
    return Sample(task=Task(id=task, instruction=instruction), trace=trace, attempt=attempt)


def places(samples: list[Sample], **options: Any) -> list[int]:
    kept = list(map(id, filters.dedup(**options)(samples)))
    return [place for place, one in enumerate(samples) if id(one) in kept]


STREAM = [
    sample("a b", "x", task=1),
    sample("a\n b ", "y", task=1, attempt=1),
    sample("c", "x", task=1, attempt=2),
    sample("a b", "x", task=2),
    sample("C", "x", task=3, instruction="2 - 2?"),
]


@pytest.mark.parametrize(
    ("by", "kept"),
    [("reasoning", [0, 2, 4]), ("answer", [0, 1]), ("both", [0, 1, 2, 4]), ("instruction", [0, 1, 2, 4])],
)
def test_what_is_compared(by: str, kept: list[int]) -> None:
    assert places(STREAM, by=by) == kept


def test_the_reason_names_the_first_one() -> None:
    reasons: dict[str, list[str]] = {}
    for by in ("reasoning", "instruction", "both"):
        said = reasons.setdefault(by, [])
        list(filters.dedup(by=by, on_drop=lambda _, reason, said=said: said.append(reason))(STREAM))  # type: ignore[misc]
    assert reasons == {
        "reasoning": ["the same reasoning as task 1, attempt 0", "the same reasoning as task 1, attempt 0"],
        "instruction": ["the same instruction as task 1"],
        "both": ["the same reasoning and answer as task 1, attempt 0"],
    }


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", "z"])), max_size=12))
def test_exact_dedup_keeps_one_of_each(parts: list[tuple[str, str]]) -> None:
    samples = [sample(reasoning, answer, attempt=place) for place, (reasoning, answer) in enumerate(parts)]
    kept = list(filters.dedup(by="both")(samples))
    pairs = [(one.trace.reasoning, one.trace.answer) for one in kept]
    assert pairs == list(dict.fromkeys(parts))


def test_a_task_is_dropped_whole_and_never_because_of_itself() -> None:
    stream = [sample(f"{task} {attempt}", task=task, attempt=attempt) for task in range(3) for attempt in range(2)]
    assert places(stream, by="instruction") == [0, 1]
    assert places(stream[:2], by="instruction") == [0, 1]
    other = sample("r", task="other", instruction="5 + 5?")
    for near in (None, 0.8):
        if near:
            pytest.importorskip("rensa")
        # Also if they do not stand side by side.
        assert places([stream[0], other, stream[1], stream[2]], by="instruction", near=near) == [0, 1, 2]


def conversation(task: int, *turns: str, system: str | None = None) -> Sample:
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[place % 2], content=turn) for place, turn in enumerate(turns))
    return Sample(task=Task(id=task, messages=messages, system=system), trace=Trace(reasoning="r", answer="a"))


def test_a_conversation_is_compared_as_a_whole_without_its_system_prompt() -> None:
    stream = [
        conversation(1, "Prove it.", "So.", "Go on."),
        conversation(2, "Refute it.", "So.", "Go on."),
        conversation(3, "Prove it.", "So.", "Go on.", system="Be brief."),
    ]
    assert places(stream, by="instruction") == [0, 1]


def prose(dice: random.Random, words: int) -> list[str]:
    return [f"w{dice.randrange(5000)}" for _ in range(words)]


def changed(words: list[str], share: float, dice: random.Random) -> list[str]:
    return [f"new{dice.randrange(5000)}" if dice.random() < share else word for word in words]


def test_near_duplicates_go_and_their_like_stay() -> None:
    pytest.importorskip("rensa")
    dice = random.Random(3)
    first = prose(dice, 800)
    reasons: list[str] = []
    stream = [
        sample(" ".join(first), task=1),
        sample(" ".join(changed(first, 0.02, dice)).upper() + "!", task=2),  # a similarity of about 0.82
        sample(" ".join(changed(first, 0.005, dice)), task="b", attempt=3),
        sample(" ".join(changed(first, 0.1, dice)), task=4),  # about 0.42
        sample(" ".join(prose(dice, 800)), task=5),
        sample(" ".join(first), task=6),
    ]
    keep = filters.dedup(near=0.7, on_drop=lambda _, reason: reasons.append(reason))
    assert [one.task.id for one in keep(stream)] == [1, 4, 5]
    assert len(reasons) == 3
    assert all(reason.startswith("nearly the same (") for reason in reasons)
    assert all(reason.endswith("reasoning as task 1, attempt 0") for reason in reasons)
    assert reasons[-1] == "nearly the same (1.00) reasoning as task 1, attempt 0"


def test_short_texts_and_signs_are_like_themselves_only() -> None:
    pytest.importorskip("rensa")
    texts = [
        "2 + 2",
        "2 and 2",
        "…",
        "…!",
        "two and two make four",
        "two and two make five",
        "…",
        "2 And 2.",
        "\ud83d",
    ]
    stream = [sample(text, task=place) for place, text in enumerate(texts)]
    assert places(stream, near=0.8) == [0, 1, 2, 3, 4, 5, 8]


def test_near_questions_drop_later_tasks() -> None:
    pytest.importorskip("rensa")
    long = (
        "A train leaves at noon and travels at 60 miles an hour towards a town that is 180 miles away when does it "
        "arrive"
    )
    texts = [
        long,
        long.replace("train", "Train,"),
        long.replace("180", "240"),
        "Something else entirely, and not short",
    ]
    stream = [
        sample(task=task, instruction=text, attempt=attempt) for task, text in enumerate(texts) for attempt in (0, 1)
    ]
    assert places(stream, by="instruction", near=0.8) == [0, 1, 4, 5, 6, 7]
    assert places(stream, by="instruction", near=0.5) == [0, 1, 6, 7]


def test_a_filter_can_be_used_again() -> None:
    keep = filters.dedup()
    assert len(list(keep(STREAM))) == len(list(keep(STREAM))) == 3


def test_without_rensa_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)  # Python then says that there is no such module
    with pytest.raises(MissingExtraError, match=r"dedup\(near=…\).*cot_distill\[dedup\]"):
        filters.dedup(near=0.8)
    filters.dedup()


@pytest.mark.parametrize("near", [0, -0.1, 1.01, 80])
def test_a_similarity_that_is_none_is_refused(near: float) -> None:
    with pytest.raises(ConfigError, match=r"a share above 0 and up to 1"):
        filters.dedup(near=near)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="'reasoning', 'answer', 'both' or 'instruction', not 'question'"):
        filters.dedup(by="question")  # type: ignore[arg-type]
