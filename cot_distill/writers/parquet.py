"""Rows as Parquet, in flat memory.

This file knows pyarrow and how Python values become columns. It knows no layout: messages are lists of structs to
it, like any other.
"""

from __future__ import annotations

import bisect
import inspect
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cot_distill.arguments import check_count
from cot_distill.errors import ConfigError
from cot_distill.protocols import Row, Writer
from cot_distill.writers._files import local, replacing
from cot_distill.writers._rows import checked

if TYPE_CHECKING:
    import pyarrow

__all__ = ["parquet"]


def parquet(
    path: str | os.PathLike[str], *, schema: pyarrow.Schema | None = None, batch_size: int = 500
) -> Writer[Path]:
    """Write a Parquet file: zstd, with a page index, and with chunks that the Hub can deduplicate.

    The columns are those of the first batch, in the order in which they appear. A key that some rows lack, such as
    ``reasoning_content`` on a user's turn, is null there; a column that is null throughout is text. Later rows must
    fit: nothing is dropped or converted at a loss.

    The file appears when it is complete: if anything fails on the way, an existing file stays as it was.

    Args:
        path: Where to write. Missing folders are made.
        schema: A ``pyarrow.Schema`` to use in place of the types of the first batch.
        batch_size: Rows to hold in memory at a time, and to look at for the schema.

    Returns:
        A writer that returns the path.

    Raises:
        ConfigError: ``batch_size`` is not positive, or ``path`` is a URL. The writer raises it when a row does not
            fit, naming row (counted from 1), column and both types; or when there are no rows, unless the schema
            is given.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parquet(f"{folder}/rows.parquet")([{"question": "2 + 2?", "answer": "4"}]).name
        'rows.parquet'
    """
    target = local(path)
    check_count(batch_size, "parquet(batch_size=…)")

    def write(rows: Iterable[Row], /) -> Path:
        import pyarrow.parquet

        if schema is not None and not isinstance(schema, pyarrow.Schema):
            raise ConfigError(f"schema must be a pyarrow.Schema, not {type(schema).__name__}")
        with replacing(target) as file:
            batches = _batches(checked(rows), batch_size)
            first = next(batches, [])
            columns = _Columns.inferred(first) if schema is None else _Columns(schema, "the given schema")
            with pyarrow.parquet.ParquetWriter(file, columns.schema, compression="zstd", **_options()) as out:
                start = 1
                for batch in chain([first], batches):
                    out.write_table(columns.table(batch, start))
                    start += len(batch)
        return target

    return write


class _Columns:
    """The schema that all rows must fit, and the conversion that sees to it.

    ``origin`` says in messages where the schema came from.
    """

    def __init__(self, schema: pyarrow.Schema, origin: str) -> None:
        self.schema = schema
        self.origin = origin
        self._names = set(schema.names)

    @classmethod
    def inferred(cls, rows: Sequence[Row]) -> _Columns:
        import pyarrow as pa

        if not rows:
            raise ConfigError("there are no rows, so the columns are unknown: look at the filters, or give `schema`")
        names = dict.fromkeys(name for row in rows for name in row)
        if not names:
            raise ConfigError("the rows have no columns: look at the formatter")
        fields = [pa.field(name, _infer(name, [row.get(name) for row in rows])) for name in names]
        return cls(pa.schema(fields), f"the type found in the first {len(rows)} rows")

    def table(self, rows: Sequence[Row], start: int) -> pyarrow.Table:
        """The rows as a table; ``start`` is the number of the first one."""
        import pyarrow as pa

        for number, row in enumerate(rows, start):
            for name in sorted(row.keys() - self._names):
                raise ConfigError(
                    f"row {number} has a column {name!r} beside those known by then "
                    f"({', '.join(self.schema.names)}): give `schema`, or let all rows have the same columns"
                )
        arrays = [self._array(field, [row.get(field.name) for row in rows], start) for field in self.schema]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _array(self, field: pyarrow.Field, values: Sequence[Any], start: int) -> Any:
        try:
            return _convert(values, field)
        except _misfits() as error:
            for number, value in enumerate(values, start):
                try:
                    _convert([value], field)
                except _misfits() as reason:
                    found = _kind(value)
                    clash = f"{found} does not fit" if found != str(field.type) else "the value cannot be stored as"
                    raise ConfigError(
                        f"row {number}, column {field.name!r}: {clash} {field.type}, {self.origin} ({reason}). "
                        f"{_advice(reason)}"
                    ) from error
            raise ConfigError(f"column {field.name!r}: the values do not fit together ({error})") from error


def _infer(name: str, values: Sequence[Any]) -> Any:
    """The type that holds all the values of a column."""
    import pyarrow as pa

    try:
        return _storable(pa.infer_type(values))
    except _misfits() as error:
        count = bisect.bisect_left(range(1, len(values) + 1), True, key=lambda n: not _agree(values[:n]))
        before = f" does not fit {pa.infer_type(values[:count])}, the type in the rows before" if count else ""
        raise ConfigError(
            f"row {count + 1}, column {name!r}: {_kind(values[count])}{before} ({error}). {_advice(error)}"
        ) from error


def _agree(values: Sequence[Any]) -> bool:
    import pyarrow as pa

    try:
        _storable(pa.infer_type(values))
    except _misfits():
        return False
    return True


def _storable(kind: Any) -> Any:
    """The type with text in place of "null throughout": files of one dataset would else differ in type."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_storable(kind.value_type))
    if pa.types.is_struct(kind):
        if kind.num_fields == 0:
            raise ValueError("an empty dict has no type")
        return pa.struct([pa.field(field.name, _storable(field.type)) for field in kind])
    return kind


def _convert(values: Sequence[Any], field: pyarrow.Field) -> Any:
    import pyarrow as pa

    array = pa.array(values, type=field.type)
    if array.null_count and not field.nullable:
        raise ValueError("null in a column that is not nullable")
    try:
        loss = _loss(pa.infer_type(values), field.type)
    except _misfits():  # a type that only a schema can give, such as a map
        return array
    if loss is not None:
        raise ValueError(loss)
    return array


def _loss(found: Any, kind: Any) -> str | None:
    """What pyarrow would drop without a word when it stores the one type as the other."""
    import pyarrow as pa

    if pa.types.is_list(found) and hasattr(kind, "value_type"):
        return _loss(found.value_type, kind.value_type)
    if pa.types.is_struct(found) and pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        for field in found:
            loss = _loss(field.type, fields[field.name]) if field.name in fields else f"unknown key {field.name!r}"
            if loss is not None:
                return loss
    if pa.types.is_floating(found) and pa.types.is_integer(kind):
        return "the fraction would be lost"
    return None


def _kind(value: Any) -> str:
    """The type of a value as a reader of the message will know it."""
    import pyarrow as pa

    try:
        return str(pa.infer_type([value]))
    except _misfits():
        return f"a value of type {type(value).__name__}"


def _advice(reason: Exception) -> str:
    if isinstance(reason, UnicodeEncodeError):
        return "That is half a surrogate pair, which is no text in UTF-8: filters.clean drops such samples."
    return "Give `schema`, or let the formatter give one type."


def _misfits() -> tuple[type[Exception], ...]:
    """What pyarrow raises for a value that has no place in a column."""
    import pyarrow as pa

    return (pa.ArrowException, TypeError, ValueError, OverflowError)


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def _options() -> dict[str, Any]:
    """The newer features, where the installed pyarrow has them."""
    import pyarrow.parquet

    known = inspect.signature(pyarrow.parquet.write_table).parameters
    return {name: True for name in ("write_page_index", "use_content_defined_chunking") if name in known}
