"""The one thing that every writer asks of a row. Knows no format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cot_distill.errors import ConfigError
from cot_distill.protocols import Row

__all__ = ["checked"]


def checked(rows: Iterable[Row]) -> Iterator[Row]:
    """Pass the rows on, one at a time.

    Args:
        rows: The rows.

    Yields:
        The same rows.

    Raises:
        ConfigError: A row is no mapping, or the name of a column no string.
    """
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise ConfigError(f"row {number} is of type {type(row).__name__}: a formatter must return a mapping")
        for name in row:
            if not isinstance(name, str):
                raise ConfigError(f"row {number} has a column named {name!r}: names of columns are strings")
        yield row
