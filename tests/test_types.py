"""The values: what they refuse, what they fill in, and that they survive being written down."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cot_distill.types import (
    Completion,
    Failure,
    Message,
    Sample,
    Sampling,
    Task,
    ThinkTags,
    Trace,
    Usage,
    Verdict,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SAID = TEXT.filter(lambda text: bool(text.strip()))
IDS = st.integers() | SAID
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def turns(*roles: str) -> tuple[Message, ...]:
    return tuple(Message.model_validate({"role": role, "content": f"{role} {n}"}) for n, role in enumerate(roles))


# Task


@given(IDS, SAID, st.none() | TEXT, st.none() | TEXT, st.dictionaries(TEXT, JSON, max_size=3))
def test_a_task_survives_being_written_as_json(
    number: int | str, instruction: str, system: str | None, answer: str | None, metadata: dict[str, Any]
) -> None:
    task = Task(id=number, instruction=instruction, system=system, answer=answer, metadata=metadata)
    again = Task.model_validate_json(task.model_dump_json())
    assert again == task
    assert type(again.id) is type(task.id)  # 1 and "1" are two tasks


def test_the_default_id_follows_what_is_asked_and_nothing_else() -> None:
    task = Task(instruction="2 + 2?")
    assert isinstance(task.id, str)
    assert task.id == Task(instruction="2 + 2?").id
    extras: list[dict[str, Any]] = [{"answer": 4}, {"tests": ["assert x"]}, {"metadata": {"a": 1}}]
    for same in extras:
        assert Task(instruction="2 + 2?", **same).id == task.id
    asked: list[dict[str, Any]] = [{}, {"system": "Be brief."}, {"messages": turns("user", "assistant", "user")}]
    ids = {Task(instruction="" if "messages" in other else "2 + 2?", **other).id for other in asked}
    assert len(ids) == 3
    assert Task(instruction="2 + 2? ").id != task.id


def test_an_id_is_kept_as_it_is_given() -> None:
    assert [Task(id=given, instruction="q").id for given in (0, -1, 2**70, "0", " ")] == [0, -1, 2**70, "0", " "]


def test_numbers_become_the_text_of_an_answer() -> None:
    assert [Task(instruction="q", answer=answer).answer for answer in (4, 0, 2.5, "x", None)] == [
        "4",
        "0",
        "2.5",
        "x",
        None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "`instruction` is empty"),
        ({"instruction": " \n"}, "`instruction` is empty"),
        ({"messages": turns("user", "assistant")}, "must be the user's turn"),
        ({"instruction": "other", "messages": turns("user")}, "two different questions"),
        ({"system": "a", "messages": turns("system", "user")}, "given twice"),
        ({"instruction": "q", "question": "q"}, "Extra inputs are not permitted"),
        ({"instruction": "q", "id": 1.5}, "id"),
        ({"instruction": "q", "id": None}, "id"),
    ],
)
def test_what_is_no_task_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Task(**fields)


def test_the_prompt_is_the_task_as_a_conversation() -> None:
    assert Task(instruction="q").prompt() == (Message(role="user", content="q"),)
    with_system = Task(instruction="q", system="s").prompt()
    assert [(turn.role, turn.content) for turn in with_system] == [("system", "s"), ("user", "q")]
    conversation = turns("system", "user", "assistant", "user")
    task = Task(messages=conversation)
    assert task.prompt() == conversation
    assert task.instruction == "user 3"
    assert Task(instruction="user 3", messages=conversation) == task


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (Task(instruction="q"), "answer"),
        (Sampling(), "temperature"),
        (Trace(reasoning="r", answer="a"), "answer"),
        (Verdict(by="v", passed=True), "passed"),
    ],
)
def test_values_cannot_be_changed(value: Any, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, field, None)


# Sampling, usage, tags


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -0.1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"max_tokens": 0},
        {"reasoning_budget": -1},
        {"top_logprobs": -1},
        {"temprature": 1},
    ],
)
def test_sampling_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        Sampling(**settings)


def test_what_is_not_set_is_none_and_not_a_default_of_ours() -> None:
    assert Sampling().model_dump(exclude_none=True) == {"extra": {}}


@pytest.mark.parametrize(
    ("completion", "reasoning", "answer"), [(10, 4, 6), (10, None, None), (None, 4, None), (4, 10, 0)]
)
def test_answer_tokens_are_what_is_not_reasoning(
    completion: int | None, reasoning: int | None, answer: int | None
) -> None:
    assert Usage(completion_tokens=completion, reasoning_tokens=reasoning).answer_tokens == answer


@pytest.mark.parametrize(
    ("opening", "closing"), [("<t>", "<t>"), ("<t>", "x<t>"), ("<t>x", "<t>"), (" ", "</t>"), ("<t>", "")]
)
def test_tags_that_could_be_confused_are_refused(opening: str, closing: str) -> None:
    with pytest.raises(ValidationError):
        ThinkTags(open=opening, close=closing)


# Trace, sample


def test_a_trace_drops_line_breaks_at_its_ends_and_keeps_spaces() -> None:
    trace = Trace(reasoning="\r\n\n  step one\n\n", answer="\n    return 4 \r\n")
    assert (trace.reasoning, trace.answer) == ("  step one", "    return 4 ")


@pytest.mark.parametrize("part", ["", " ", "\n\t\n", "a <think> b", "a </think>"])
@pytest.mark.parametrize("field", ["reasoning", "answer"])
def test_a_trace_that_is_not_whole_cannot_exist(field: str, part: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Trace(**{"reasoning": "r", "answer": "a", field: part})


@pytest.mark.parametrize(
    ("verdicts", "passed"),
    [
        ([], None),
        ([True], True),
        ([True, True], True),
        ([None], None),
        ([True, None], None),
        ([False, None], False),
        ([True, False], False),
    ],
)
def test_a_sample_passed_only_if_every_verifier_says_so(verdicts: list[bool | None], passed: bool | None) -> None:
    found = tuple(Verdict(by=str(n), passed=verdict) for n, verdict in enumerate(verdicts))
    sample = Sample(task=Task(instruction="q"), trace=Trace(reasoning="r", answer="a"), verdicts=found)
    assert sample.passed is passed


def test_samples_and_failures_survive_being_written_as_json() -> None:
    task = Task(id="ü\u2028", instruction="q", metadata={"a": [1, {"b": None}]})
    sample = Sample(task=task, trace=Trace(reasoning="r", answer="a"), verdicts=(Verdict(by="v", passed=None),))
    failure = Failure(task=task, stage="parse", kind="truncated", message="cut", usage=Usage(completion_tokens=3))
    assert Sample.model_validate_json(sample.model_dump_json()) == sample
    assert Failure.model_validate_json(failure.model_dump_json()) == failure


def test_the_raw_body_is_kept_out_of_the_repr() -> None:
    completion = Completion(content="4", raw='{"choices": "long"}')
    assert "long" not in repr(completion)
    assert Completion.model_validate_json(completion.model_dump_json()).raw == completion.raw


@pytest.mark.parametrize(
    ("most", "limit", "steps"),
    [(8, 32, [16, 32]), (8, 20, [16, 20]), (8, None, []), (8, 8, []), (None, None, [])],
)
def test_the_ladder_of_caps(most: int | None, limit: int | None, steps: list[int]) -> None:
    sampling = Sampling(max_tokens=most, max_tokens_limit=limit)
    found, cap = [], most
    while cap is not None and (cap := sampling.cap_after(cap)) is not None:
        found.append(cap)
    assert found == steps


def test_an_answer_that_was_cut_long_ago_is_asked_for_with_twice_the_room() -> None:
    assert Sampling(max_tokens=8, max_tokens_limit=100).cap_after(30) == 60
    assert Sampling(max_tokens=50).cap_after(8) == 50
    with pytest.raises(ValidationError, match="needs a max_tokens, and must not be below it"):
        Sampling(max_tokens_limit=10)
    with pytest.raises(ValidationError, match="needs a max_tokens"):
        Sampling(max_tokens=20, max_tokens_limit=10)
