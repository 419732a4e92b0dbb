"""From a completion to a Sample or a Failure: pure functions, used while asking and on every later reading."""

from __future__ import annotations

from cot_distill.errors import TeacherError, TraceError
from cot_distill.prices import dollars
from cot_distill.records import Record
from cot_distill.trace import Prefilled, parse_trace
from cot_distill.types import Completion, Failure, Sample, Task, ThinkTags

__all__ = ["Outcome", "crashed", "read", "read_record", "unanswered"]

Outcome = Sample | Failure


def read(
    task: Task,
    attempt: int,
    completion: Completion,
    *,
    teacher: str,
    tags: ThinkTags,
    prefilled: Prefilled,
    tries: int = 1,
    cost: int | None = None,
) -> Outcome:
    """Read the trace of a completion: a Sample without verdicts, or the Failure that says why there is none.

    ``cost`` is in billionths of a dollar.
    """
    try:
        trace = parse_trace(completion, tags=tags, prefilled=prefilled)
    except TraceError as error:
        return Failure(
            task=task,
            attempt=attempt,
            stage="parse",
            kind=error.kind,
            message=str(error),
            teacher=teacher,
            request_id=completion.request_id,
            usage=completion.usage,
            cost=dollars(cost),
            tries=tries,
        )
    return Sample(
        task=task,
        trace=trace,
        attempt=attempt,
        teacher=teacher,
        model=completion.model,
        trace_kind=completion.trace_kind if completion.trace_kind != "none" else "full",
        usage=completion.usage,
        cost=dollars(cost),
        request_id=completion.request_id,
        latency=completion.latency,
        logprobs=completion.logprobs,
    )


def read_record(record: Record, *, teacher: str, tags: ThinkTags, prefilled: Prefilled) -> Outcome:
    """Read the trace of a completion that is in the ledger, without its verdicts."""
    assert record.completion is not None  # noqa: S101 - only completions are judged
    return read(
        record.task,
        record.attempt,
        record.completion,
        teacher=teacher,
        tags=tags,
        prefilled=prefilled,
        tries=record.tries,
        cost=record.cost,
    )


def unanswered(
    task: Task, attempt: int, error: TeacherError, *, teacher: str, tries: int, cost: int | None = None
) -> Failure:
    """The Failure of an attempt that ended without an answer. ``cost`` is in billionths of a dollar."""
    return Failure(
        task=task,
        attempt=attempt,
        stage="request",
        kind=error.kind,
        message=str(error).encode("utf-8", "replace").decode(),  # a server's words may hold what no file can
        teacher=teacher,
        status=error.status,
        request_id=error.request_id,
        cost=dollars(cost),
        tries=tries,
    )


def crashed(sample: Sample, message: str) -> Failure:
    """The Failure of an attempt whose trace a verifier crashed on."""
    return Failure(
        task=sample.task,
        attempt=sample.attempt,
        stage="verify",
        kind="verifier_error",
        message=message,
        teacher=sample.teacher,
        request_id=sample.request_id,
        usage=sample.usage,
        cost=sample.cost,
    )
