"""The six extension points, and nothing else.

One operation means a callable, so a plain function qualifies; only what has an identity is an object. The
engine, the run and the writers know these protocols, never a provider or a file format.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from cot_distill.types import Completion, Message, Row, Sample, Sampling, Task, Trace, Verdict

__all__ = ["Filter", "Formatter", "Row", "Tasks", "Teacher", "Template", "Verifier", "Writer"]

T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class Teacher(Protocol):
    """Answers a conversation. If it is also an async context manager it is entered once per run: open sockets there.

    Raise the :class:`~cot_distill.errors.TeacherError` that fits, and the engine does the rest: a transient one is
    retried, a fatal one ends the run, a ``RequestError`` becomes a Failure of this task.
    :func:`cot_distill.testing.check_teacher` proves a teacher of your own.

    Example:
        A teacher that asks a person::

            class Human:
                name = "human"

                async def complete(self, messages, sampling, /):
                    answer = await anyio.to_thread.run_sync(input, messages[-1].content)
                    return Completion(reasoning="(out of my head)", content=answer, trace_kind="full")
    """

    @property
    def name(self) -> str:
        """Identity in the recipe: the same name must mean the same teacher. Holds no secret."""
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Ask once.

        Args:
            messages: The conversation; the last turn is the user's.
            sampling: How to answer. What a teacher has no use for it may leave out.

        Returns:
            The completion, also one that is cut or has no reasoning: what that means is decided later.

        Raises:
            TeacherError: No usable completion came back.
        """
        ...


class Template(Protocol):
    r"""Turns a task into the conversation that the teacher sees. Pure: the same task gives the same messages.

    Example:
        ::

            def terse(task):
                return [Message(role="user", content=f"{task.instruction}\nBe brief.")]
    """

    def __call__(self, task: Task, /) -> Sequence[Message]:
        """Return the messages to send.

        Args:
            task: The task.

        Returns:
            The conversation; the last turn is the user's.
        """
        ...


class Verifier(Protocol):
    """Judges a trace. The same object can reward the student later. May be sync or async.

    Its ``__name__`` (or its class's) names it in the journal. A crash is booked as a failure of that one attempt;
    if the very first ones all crash the run stops, since then the verifier is at fault.

    Verifiers must not slow the requests. A plain function is called in a worker thread, one with the attribute
    ``light = True`` on the event loop itself: say so of what takes microseconds and cannot hang. What computes for
    long, or may never end, belongs in a process: :func:`cot_distill.verifiers.isolated`. A verifier that is also an
    async context manager is entered once per run: open sockets and start processes there.

    Example:
        ::

            def short(task, trace):
                return Verdict(by="short", passed=len(trace.reasoning) < 4000)
    """

    def __call__(self, task: Task, trace: Trace, /) -> Verdict | Awaitable[Verdict]:
        """Return right, wrong or cannot tell, with a reason.

        Args:
            task: The task, with its reference.
            trace: What the teacher thought and answered.

        Returns:
            The verdict, or something to await that gives it. ``applies=False`` says that there is nothing to judge
            this task by; ``passed=None`` alone that it could not be told, for instance because a process was killed.
        """
        ...


class Formatter(Protocol):
    """Turns a sample into one row of a dataset.

    Example:
        ::

            def question_only(sample):
                return {"question": sample.task.instruction, "length": len(sample.trace.reasoning)}
    """

    def __call__(self, sample: Sample, /) -> Row:
        """Return a mapping of column names to plain values.

        Args:
            sample: The sample.

        Returns:
            The row.
        """
        ...


class Writer(Protocol[T_co]):
    """Pulls rows and writes them. Owns its own open, commit and close; commits whole or not at all.

    :func:`cot_distill.testing.check_writer` proves a writer of your own.

    Example:
        ::

            def count(rows):
                return sum(1 for _ in rows)
    """

    def __call__(self, rows: Iterable[Row], /) -> T_co:
        """Write all rows; return what the user gets back (a path, a dataset…).

        Args:
            rows: The rows, to be pulled one at a time.

        Returns:
            What the user gets back: a path, a dataset…
        """
        ...


Filter = Callable[[Iterable[Sample]], Iterator[Sample]]
"""Chooses among samples: a generator function over them.

Example::

    def long_enough(samples):
        return (s for s in samples if len(s.trace.reasoning) > 100)
"""

Tasks = Iterable[Task] | AsyncIterable[Task]
"""A source is any iterable, also an endless one."""
