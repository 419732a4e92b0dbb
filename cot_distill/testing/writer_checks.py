"""Proof that a writer of your own keeps the promises that a run relies on.

This file knows the protocol, and no implementation of it. A broken promise raises an AssertionError with a sentence.
Errors of another kind are the writer's own, and surface as they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from cot_distill.errors import DistillError
from cot_distill.protocols import Writer
from cot_distill.types import Row

__all__ = ["check_writer"]

T = TypeVar("T")

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


def _require(kept: object, promise: str) -> None:
    if not kept:
        raise AssertionError(promise)
