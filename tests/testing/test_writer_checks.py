"""The proof of a writer: it passes one that keeps its promises, and names the promise that is broken."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from cot_distill.errors import ConfigError
from cot_distill.protocols import Writer
from cot_distill.testing import check_writer
from cot_distill.types import Row

# check_writer: what it lets through


def jsonl(path: Path) -> Writer[Path]:
    def write(rows: Iterable[Row], /) -> Path:
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                for row in rows:
                    file.write(json.dumps(row).encode() + b"\n")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    return write


def lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_good_writer_passes() -> None:
    before = sorted(os.listdir())
    check_writer(jsonl, lines)
    assert sorted(os.listdir()) == before


def parquet(path: Path) -> Writer[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(rows: Iterable[Row], /) -> Path:
        part = path.with_suffix(".part")
        source = iter(rows)
        file = None
        try:
            while batch := list(itertools.islice(source, 1000)):
                table = pa.Table.from_pylist(batch)
                file = file or pq.ParquetWriter(part, table.schema)
                file.write_table(table)
            if file is None:
                pq.write_table(pa.table({}), part)
        except BaseException:
            if file is not None:
                file.close()
                part.unlink()
            raise
        if file is not None:
            file.close()
        part.replace(path)
        return path

    return write


def test_a_good_parquet_writer_passes() -> None:
    import pyarrow.parquet as pq

    check_writer(parquet, lambda path: pq.read_table(path).to_pylist())


def test_rows_of_another_shape_can_be_given() -> None:
    seen: set[frozenset[str]] = set()

    def read(path: Path) -> list[Row]:
        rows = lines(path)
        seen.update(frozenset(row) for row in rows)
        return rows

    check_writer(jsonl, read, row=lambda number, text: {"n": number, "t": text}, ahead=64)
    assert seen == {frozenset({"n", "t"})}


# check_writer: what it finds

Write = Callable[[Path, Iterator[Row]], None]


def broken(write: Write) -> Callable[[Path], Writer[Path]]:
    def make(path: Path) -> Writer[Path]:
        def writer(rows: Iterable[Row], /) -> Path:
            write(path, iter(rows))
            return path

        return writer

    return make


def dump(path: Path, rows: Iterable[Row]) -> None:
    jsonl(path)(rows)


def in_place(path: Path, rows: Iterator[Row]) -> None:
    with path.open("wb") as file:
        for row in rows:
            file.write(json.dumps(row).encode() + b"\n")


def cleans_up_target(path: Path, rows: Iterator[Row]) -> None:
    try:
        in_place(path, rows)
    except BaseException:
        path.unlink()
        raise


def leaves_part(path: Path, rows: Iterator[Row]) -> None:
    part = path.with_suffix(".part")
    in_place(part, rows)
    part.replace(path)


def forgets_interruptions(path: Path, rows: Iterator[Row]) -> None:
    part = path.with_suffix(".part")
    try:
        in_place(part, rows)
    except Exception:
        part.unlink()
        raise
    part.replace(path)


def wraps(path: Path, rows: Iterator[Row]) -> None:
    try:
        dump(path, rows)
    except Exception as error:
        raise RuntimeError("could not write") from error


def swallows(path: Path, rows: Iterator[Row]) -> None:
    good: list[Row] = []
    try:
        good.extend(rows)
    except Exception:
        good.clear()
    dump(path, good)


def collects(path: Path, rows: Iterator[Row]) -> None:
    dump(path, list(rows))


def reverses(path: Path, rows: Iterator[Row]) -> None:
    dump(path, reversed(list(rows)))


def loses_one(path: Path, rows: Iterator[Row]) -> None:
    dump(path, (row for number, row in enumerate(rows) if number != 500))


def appends(path: Path, rows: Iterator[Row]) -> None:
    old = lines(path) if path.exists() else []
    dump(path, [*old, *rows])


def needs_rows(path: Path, rows: Iterator[Row]) -> None:
    first = next(rows, None)
    if first is not None:
        dump(path, (row for part in ([first], rows) for row in part))


def strips(path: Path, rows: Iterator[Row]) -> None:
    dump(path, ({**row, "note": row["note"] and row["note"].strip()} for row in rows))


def mends_line_ends(path: Path, rows: Iterator[Row]) -> None:
    dump(path, (json.loads(json.dumps(row).replace("\\r\\n", "\\n")) for row in rows))


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (in_place, r"the rows raised _HalfWay after 0 rows, and left behind: \['rows'\]"),
        (cleans_up_target, "over an existing target changed the files"),
        (leaves_part, r"left behind: \['rows.part'\]"),
        (forgets_interruptions, r"the rows raised _Interruption after 0 rows, and left behind: \['rows.part'\]"),
        (wraps, "an error that the rows raised came out as RuntimeError: could not write"),
        (swallows, "an error that the rows raised after 0 rows was swallowed"),
        (collects, "the writer held 16384 of 16384 rows at one time"),
        (reverses, "rows from a generator: row 0 came back changed"),
        (loses_one, "rows from a generator: wrote 1000 rows, read 999"),
        (appends, "a second call, with a list: wrote 3 rows, read 1003"),
        (strips, "hostile text: row 7 came back changed"),
        (mends_line_ends, "hostile text: row 0 came back changed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_promise_of_a_writer_is_named(write: Write, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_writer(broken(write), lines)


def test_a_writer_that_does_nothing_without_rows_is_found_out() -> None:
    with pytest.raises(FileNotFoundError):
        check_writer(broken(needs_rows), lines)
    with pytest.raises(AssertionError, match="a call without rows over an existing target: wrote 0 rows, read 3"):
        check_writer(broken(needs_rows), lambda path: lines(path) if path.exists() else [])


def test_no_rows_may_be_refused_with_an_error_of_the_library() -> None:
    def refuses(path: Path, rows: Iterator[Row]) -> None:
        first = next(rows, None)
        if first is None:
            raise ConfigError("there are no rows")
        dump(path, itertools.chain([first], rows))

    def refuses_too_late(path: Path, rows: Iterator[Row]) -> None:
        path.write_bytes(b"")
        refuses(path, rows)

    check_writer(broken(refuses), lines)
    with pytest.raises(
        AssertionError, match=r"a call without rows was refused \(there are no rows\), yet it left traces"
    ):
        check_writer(broken(refuses_too_late), lines)


def test_a_reader_that_cuts_at_odd_line_breaks_is_found_out() -> None:
    def write(path: Path, rows: Iterator[Row]) -> None:
        dump(path, rows)
        raw = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines(path))
        path.write_text(raw, encoding="utf-8", newline="")

    check_writer(broken(write), lines)  # the file itself is fine
    with pytest.raises(json.JSONDecodeError):
        check_writer(broken(write), lambda path: map(json.loads, path.read_text("utf-8").splitlines()))


def test_a_ctrl_c_of_the_users_own_is_not_taken_for_a_finding() -> None:
    def write(path: Path, rows: Iterator[Row]) -> None:
        for number, _ in enumerate(rows):
            if number == 1:
                raise KeyboardInterrupt
        dump(path, rows)

    with pytest.raises(KeyboardInterrupt):
        check_writer(broken(write), lines)
