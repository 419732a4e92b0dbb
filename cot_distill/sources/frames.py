"""Rows of a pandas DataFrame, which is known by what it can do: pandas is not imported here.

This file knows data frames and the values in them. What a row means is for :mod:`cot_distill.sources.columns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cot_distill.errors import ConfigError, SourceError

__all__ = ["Rows", "is_frame"]


def is_frame(value: object) -> bool:
    """Tell whether this is a data frame, which must not be iterated: that would give the names of its columns.

    Args:
        value: Anything.

    Returns:
        Whether it has ``columns`` and ``to_dict``, as the frames of all libraries do.
    """
    return hasattr(value, "columns") and hasattr(value, "to_dict") and not isinstance(value, Mapping)


class Rows(Iterable[dict[str, Any]]):
    """The rows of a frame as dicts, one at a time. The index is left out.

    Args:
        frame: A ``pandas.DataFrame``.

    Raises:
        ConfigError: It is a frame of another library.
        SourceError: Two columns have one name.
    """

    def __init__(self, frame: Any) -> None:
        if not hasattr(frame, "itertuples"):
            home = type(frame).__module__.partition(".")[0]
            raise ConfigError(f"a {type(frame).__name__} of {home} is no list of tasks: pass its rows, as dicts")
        self._frame = frame
        self._names = [str(name) for name in frame.columns]
        if repeated := next((name for name in self._names if self._names.count(name) > 1), None):
            raise SourceError(f"{type(frame).__name__}: two columns are called {repeated!r}")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # pandas has four ways to say that there is nothing (None, NaN, NaT, NA), and knows best.
        missing = self._frame.isna().itertuples(index=False, name=None)
        for row, holes in zip(self._frame.itertuples(index=False, name=None), missing, strict=True):
            cells = zip(self._names, row, holes, strict=True)
            yield {name: None if hole else _plain(value) for name, value, hole in cells}


def _plain(value: Any) -> Any:
    """A value without anything of numpy in it: read from Parquet, lists are arrays."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value
