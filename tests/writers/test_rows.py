"""Only mappings with names are rows; the message says which one is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cot_distill import writers
from cot_distill.errors import ConfigError
from cot_distill.writers._rows import checked


@pytest.mark.parametrize("writer", [writers.jsonl, writers.parquet, lambda path: writers.hugging_face()])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}, "a"], "row 2 is of type str"),
        ([None], "row 1 is of type NoneType"),
        ([{"a": 1}, {"a": 1}, {7: 1}], "row 3 has a column named 7"),
    ],
)
def test_what_is_no_row(writer: Callable[[Path], Any], rows: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        writer(tmp_path / "rows")(rows)
    assert not list(tmp_path.iterdir())


def test_rows_are_passed_on_one_at_a_time() -> None:
    rows = checked({"n": n} for n in range(10**12))
    assert [next(rows), next(rows)] == [{"n": 0}, {"n": 1}]
