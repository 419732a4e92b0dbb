"""Proofs that a teacher or a writer of your own keeps the promises that the engine relies on.

This file knows the protocols, and no implementation of them. Each broken promise raises an AssertionError with a
sentence. Errors of another kind are the teacher's or the writer's own, and surface as they are.
"""

from __future__ import annotations

import inspect
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import anyio

from cot_distill.errors import DistillError, TeacherError, TraceError
from cot_distill.protocols import Teacher, Writer
from cot_distill.trace import parse_trace
from cot_distill.types import Completion, Message, Row, Sampling

__all__ = ["check_teacher", "check_writer"]

T = TypeVar("T")

_PROMPTLY = 1.0  # seconds that a cancelled call may take to leave
_SECRET = re.compile(
    r"(?i:bearer\s+\S|://[^/\s@]*:[^/\s@]+@|(?:api[-_]?key|token|secret|password)=\S)"
    r"|\b(?:sk-|xai-|nvapi-|gsk_|hf_|ghp_)[\w-]{16,}|\bAIza[\w-]{30,}"
)
_SECRET_VARIABLE = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)

_HOSTILE = (
    "two lines\nand\r\nthree\rfour",
    "U+2028 \u2028 and U+2029 \u2029 and U+0085 \x85 are no line breaks here",
    "emoji \U0001f9ee, family \U0001f468\u200d\U0001f469\u200d\U0001f467, combining e\u0301",
    "\ufeffBOM, right to left \u202eabc\u202c, no character \ufffe, private \ue000",
    "control " + "".join(map(chr, range(1, 32))) + " and \x7f",
    "a lone </think> and an open <think> and [/THINK]",
    'quotes " \' ` and \\ and \\n and {"json": [1]} and, commas; <b>&amp;</b>',
    "   spaces around   \n",
    "",
    "long " * 20_000,
)


async def check_teacher(teacher: Teacher, *, prompt: str = "What is 17 + 25?", timeout: float = 600.0) -> Completion:
    """Prove that a teacher keeps its promises. It is asked five times; one of the calls is cancelled half-way.

    Its name says something, stays the same and holds no key, nor does its ``repr``. ``complete()`` takes messages and
    sampling by position, leaves the messages as they are, and returns a Completion out of which a trace can be read.
    Two calls can run at once. A cancelled call leaves within a second. If it is an async context manager it can be
    entered a second time, as a second run does.

    Args:
        teacher: Not entered yet.
        prompt: Something that it answers with some thought.
        timeout: Seconds that one call may take.

    Returns:
        The first completion, for a look at it.

    Raises:
        AssertionError: A promise is broken; the message says which.
        TeacherError: The teacher could not be asked: a wrong key, no connection…

    Example:
        >>> from cot_distill.testing import ScriptedTeacher, echo_answer
        >>> teacher = ScriptedTeacher(lambda messages: echo_answer(messages[-1].content))
        >>> anyio.run(check_teacher, teacher).content
        'The answer to "What is 17 + 25?" is 35352b3d.'
    """
    _require(isinstance(teacher, Teacher), f"{type(teacher).__name__} is no teacher: it needs `name` and `complete`")
    _check_name(teacher)
    messages = [Message(role="user", content=prompt)]
    try:
        inspect.signature(teacher.complete).bind(messages, Sampling())
    except TypeError as error:
        raise AssertionError(f"complete() must take (messages, sampling) by position: {error}") from None
    async with _entered(teacher):
        began = time.monotonic()
        completion = await _ask(teacher, messages, timeout)
        seconds = time.monotonic() - began
        _check_trace(completion)
        await _check_two_at_once(teacher, messages, timeout)
        await _check_cancelled(teacher, messages, seconds / 2)
    with _blaming("after a cancelled call, entered a second time, it"):
        async with _entered(teacher):
            await _ask(teacher, messages, timeout)
    return completion


def check_writer(
    make_writer: Callable[[Path], Writer[T]],
    read: Callable[[T], Iterable[Row]],
    *,
    row: Callable[[int, str], Row] | None = None,
    ahead: int = 4096,
) -> None:
    r"""Prove that a writer keeps its promises. It is tried in a temporary directory of its own.

    Rows come back equal and in their order, also such with hostile text. A second call replaces what the first one
    wrote. No rows give no rows, or a DistillError that changes nothing. If the rows raise an error on the way it
    surfaces unchanged and nothing is left in the target's directory, or else what was there before, to the byte. Rows
    are pulled as they are written, not collected first.

    Args:
        make_writer: Makes the writer for a target. It may add a suffix to the path.
        read: Reads all rows back from what the writer returned.
        row: Makes a row from a number and a text that the row must hold. Default: a row of the ``messages`` formatter
            with a text, a number, a share, a flag and a column of which every other value is ``None``.
        ahead: Rows that the writer may hold at one time; four times as many are written.

    Raises:
        AssertionError: A promise is broken; the message says which.

    Example:
        >>> import json, os
        >>> def jsonl(path):
        ...     def write(rows):
        ...         part = path.with_suffix(".part")
        ...         try:
        ...             with part.open("w") as file:
        ...                 file.writelines(json.dumps(row) + "\n" for row in rows)
        ...             return part.rename(path)
        ...         finally:
        ...             part.unlink(missing_ok=True)
        ...     return write
        >>> check_writer(jsonl, lambda path: map(json.loads, path.read_text().splitlines()))
    """
    with tempfile.TemporaryDirectory(prefix="check_writer-", ignore_cleanup_errors=True) as root:
        proof = _WriterProof(make_writer, read, row or _row, Path(root))
        proof.rows_come_back(1_000)
        proof.no_rows_are_no_rows()
        proof.hostile_text_comes_back()
        for error in (_HalfWay("half-way"), _Interruption("half-way")):
            for after in (0, 1, ahead + ahead // 2):
                proof.nothing_is_left(error, after)
                proof.target_survives(error, after)
        proof.is_lazy(ahead)


class _HalfWay(Exception):  # noqa: N818 - an event of the proof, not an error of the library
    """Raised by the rows."""


class _Interruption(BaseException):
    """Raised by the rows, as Ctrl-C would be."""


@dataclass(frozen=True)
class _WriterProof(Generic[T]):
    make_writer: Callable[[Path], Writer[T]]
    read: Callable[[T], Iterable[Row]]
    row: Callable[[int, str], Row]
    root: Path

    def _target(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.root)) / "rows"

    def _rows(self, count: int, text: str) -> Iterator[Row]:
        return (self.row(number, f"{text} {number}") for number in range(count))

    def _compare(self, result: T, expected: Iterable[Row], what: str) -> None:
        found = [dict(row) for row in self.read(result)]
        wanted = [dict(row) for row in expected]
        _require(len(found) == len(wanted), f"{what}: wrote {len(wanted)} rows, read {len(found)}")
        for number, (got, want) in enumerate(zip(found, wanted, strict=True)):
            _require(
                got == want, f"{what}: row {number} came back changed:\n  wrote {want!r:.500}\n  read  {got!r:.500}"
            )

    def rows_come_back(self, count: int) -> None:
        write = self.make_writer(self._target())
        self._compare(write(self._rows(count, "first")), self._rows(count, "first"), "rows from a generator")
        self._compare(write(list(self._rows(3, "second"))), self._rows(3, "second"), "a second call, with a list")

    def no_rows_are_no_rows(self) -> None:
        target = self._target()
        for what in ("a call without rows", "a call without rows over an existing target"):
            before = _contents(target.parent)
            try:
                self._compare(self.make_writer(target)(iter(())), (), what)
            except DistillError as error:
                _require(_contents(target.parent) == before, f"{what} was refused ({error}), yet it left traces")
            self.make_writer(target)(self._rows(3, "old"))

    def hostile_text_comes_back(self) -> None:
        rows = [self.row(number, text) for number, text in enumerate(_HOSTILE)]
        self._compare(self.make_writer(self._target())(iter(rows)), rows, "hostile text")

    def _fail(self, target: Path, error: BaseException, after: int) -> None:
        def rows() -> Iterator[Row]:
            yield from self._rows(after, "never")
            raise error

        try:
            self.make_writer(target)(rows())
        except BaseException as caught:
            if not isinstance(caught, Exception | _Interruption):
                raise  # a true Ctrl-C
            if caught is not error:
                name = type(caught).__name__
                raise AssertionError(f"an error that the rows raised came out as {name}: {caught}") from caught
        else:
            raise AssertionError(f"an error that the rows raised after {after} rows was swallowed")

    def nothing_is_left(self, error: BaseException, after: int) -> None:
        target = self._target()
        self._fail(target, error, after)
        left = sorted(str(path.relative_to(target.parent)) for path in target.parent.rglob("*"))
        _require(not left, f"the rows raised {type(error).__name__} after {after} rows, and left behind: {left}")

    def target_survives(self, error: BaseException, after: int) -> None:
        target = self._target()
        result = self.make_writer(target)(self._rows(5, "old"))
        before = _contents(target.parent)
        self._fail(target, error, after)
        what = f"a failed write after {after} rows over an existing target"
        _require(_contents(target.parent) == before, f"{what} changed the files of the target")
        self._compare(result, self._rows(5, "old"), what)

    def is_lazy(self, ahead: int) -> None:
        alive = most = 0

        class Tracked(dict[str, Any]):
            def __del__(self) -> None:
                nonlocal alive
                alive -= 1

        def rows() -> Iterator[Row]:
            nonlocal alive, most
            for row in self._rows(4 * ahead, "lazy"):
                alive += 1
                most = max(most, alive)
                yield Tracked(row)

        self.make_writer(self._target())(rows())
        _require(
            most <= ahead, f"the writer held {most} of {4 * ahead} rows at one time: pull and write them in turn"
        )


def _row(number: int, text: str) -> Row:
    thought = {"role": "assistant", "content": f"<think>\n{text}\n</think>\n\n{number}"}
    return {
        "id": f"task-{number}",
        "messages": [{"role": "user", "content": text}, thought],
        "attempt": number,
        "score": number / 8,
        "passed": number % 3 == 0,
        "note": text if number % 2 else None,
    }


def _contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@asynccontextmanager
async def _entered(teacher: Teacher) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if isinstance(teacher, AbstractAsyncContextManager):
            await stack.enter_async_context(teacher)
        yield


async def _ask(teacher: Teacher, messages: Sequence[Message], timeout: float) -> Completion:
    given = list(messages)
    with anyio.move_on_after(timeout) as scope:
        answer: object = teacher.complete(given, Sampling())
        _require(inspect.isawaitable(answer), f"complete() must be async, but it returned {type(answer).__name__}")
        completion = await cast("Awaitable[object]", answer)
    _require(not scope.cancelled_caught, f"complete() did not answer within {timeout:g} s")
    _require(given == messages, "complete() changed the messages that it was given")
    if not isinstance(completion, Completion):
        raise AssertionError(f"complete() must return a Completion, not {type(completion).__name__}")  # noqa: TRY004
    return completion


def _check_name(teacher: Teacher) -> None:
    name: object = teacher.name
    if not isinstance(name, str) or not name.strip():
        raise AssertionError(f"`name` must be a text that says something, not {name!r}")
    _require(name == teacher.name, "`name` must stay the same")
    for what, text in (("name", name), ("repr()", repr(teacher))):
        # The text itself is not repeated: an assertion ends up in logs.
        _require(not _SECRET.search(text), f"the {what} of the teacher seems to hold a key or a password")
        for variable, value in os.environ.items():
            secret = _SECRET_VARIABLE.search(variable) and len(value) >= 8 and value in text
            _require(not secret, f"the {what} of the teacher holds the value of ${variable}")


def _check_trace(completion: Completion) -> None:
    try:
        parse_trace(completion)
    except TraceError as error:
        raise AssertionError(f"no trace can be read out of the completion ({error.kind}): {error}") from error


async def _check_two_at_once(teacher: Teacher, messages: Sequence[Message], timeout: float) -> None:
    errors: list[Exception] = []

    async def ask() -> None:
        try:
            await _ask(teacher, messages, timeout)
        except Exception as error:  # raised below, outside of the group: one plain error
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
    if errors:
        with _blaming("asked twice at the same time, it"):
            raise errors[0]


async def _check_cancelled(teacher: Teacher, messages: Sequence[Message], after: float) -> None:
    caught: Exception | None = None
    began = time.monotonic()
    with anyio.move_on_after(after) as scope:
        try:
            await teacher.complete(messages, Sampling())
        except Exception as error:  # looked at below
            caught = error
    late = time.monotonic() - began - after
    _require(late < _PROMPTLY, f"complete() took {late:.1f} s to leave after it was cancelled")
    if caught is not None:
        with _blaming(f"{'cancelled' if scope.cancel_called else 'asked again'}, it"):
            raise caught


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    try:
        yield
    except (TeacherError, AssertionError):
        raise
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error


def _require(kept: object, promise: str) -> None:
    if not kept:
        raise AssertionError(promise)
