"""From a completion to a Sample or a Failure."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from cot_distill.errors import RateLimitError, RequestError, TeacherError, TraceErrorKind, UnavailableError
from cot_distill.outcome import Outcome, crashed, read, unanswered
from cot_distill.types import Completion, Failure, Sample, Task, ThinkTags, Trace, Usage

TASK = Task(id=7, instruction="2 + 2?", answer=4)
USAGE = Usage(prompt_tokens=3, completion_tokens=9, reasoning_tokens=5)
GOOD: dict[str, Any] = {
    "reasoning": "2 and 2 make 4.",
    "content": "4",
    "trace_kind": "full",
    "usage": USAGE,
    "model": "big-model-0711",
    "request_id": "req-1",
    "latency": 1.5,
}


def outcome(tags: ThinkTags = ThinkTags(), **fields: Any) -> Outcome:
    completion = Completion(**{**GOOD, **fields})
    return read(TASK, 2, completion, teacher="scripted", tags=tags, prefilled="auto", tries=3)


def test_a_good_completion_becomes_a_sample_that_knows_where_it_came_from() -> None:
    assert outcome() == Sample(
        task=TASK,
        trace=Trace(reasoning="2 and 2 make 4.", answer="4"),
        attempt=2,
        teacher="scripted",
        model="big-model-0711",
        trace_kind="full",
        usage=USAGE,
        request_id="req-1",
        latency=1.5,
    )


@pytest.mark.parametrize(("given", "kept"), [("summary", "summary"), ("full", "full"), ("none", "full")])
def test_the_kind_of_trace_is_kept_and_inline_reasoning_is_a_full_one(given: str, kept: str) -> None:
    sample = outcome(trace_kind=given, reasoning="", content="<think>r</think>a")
    assert isinstance(sample, Sample)
    assert sample.trace_kind == kept


def test_the_tags_are_those_that_were_asked_for() -> None:
    content = "[THINK]r[/THINK]a"
    sample = outcome(reasoning="", content=content, tags=ThinkTags(open="[THINK]", close="[/THINK]"))
    assert isinstance(sample, Sample)
    assert sample.trace == Trace(reasoning="r", answer="a")
    assert isinstance(outcome(reasoning="", content=content), Failure)


BAD: dict[str, dict[str, Any]] = {
    "truncated": {"finish_reason": "length"},
    "refused": {"finish_reason": "refused"},
    "unfinished": {"finish_reason": "tool_calls"},
    "no_reasoning": {"reasoning": " "},
    "no_answer": {"content": "\n"},
    "unbalanced": {"reasoning": "", "content": "<think>r"},
    "repeated": {"content": "<think>something else</think>4"},
}


def test_every_kind_of_bad_trace_is_tried_here() -> None:
    assert BAD.keys() == set(get_args(TraceErrorKind))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_completion_becomes_a_failure_that_says_why_and_what_it_cost(kind: str) -> None:
    failure = outcome(**BAD[kind])
    assert isinstance(failure, Failure)
    assert failure.message
    assert failure == Failure(
        task=TASK,
        attempt=2,
        stage="parse",
        kind=kind,
        message=failure.message,
        teacher="scripted",
        request_id="req-1",
        usage=USAGE,
        tries=3,
    )


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (RequestError("too long", kind="too_long", status=400, request_id="req-2"), "too_long", 400),
        (RateLimitError("slow down", status=429, request_id="req-2"), "rate_limited", 429),
        (UnavailableError("no answer", kind="timeout", request_id="req-2"), "timeout", None),
    ],
)
def test_no_answer_becomes_a_failure_of_the_request(error: TeacherError, kind: str, status: int | None) -> None:
    failure = unanswered(TASK, 1, error, teacher="scripted", tries=4)
    assert failure == Failure(
        task=TASK,
        attempt=1,
        stage="request",
        kind=kind,
        message=str(error),
        teacher="scripted",
        status=status,
        request_id="req-2",
        tries=4,
    )


def test_a_crash_of_a_verifier_becomes_a_failure_that_keeps_the_cost() -> None:
    sample = outcome()
    assert isinstance(sample, Sample)
    failure = crashed(sample, "ValueError: cannot read that")
    assert (failure.task, failure.attempt, failure.stage, failure.kind) == (TASK, 2, "verify", "verifier_error")
    assert (failure.message, failure.usage, failure.request_id) == ("ValueError: cannot read that", USAGE, "req-1")
