"""What every source is: settings, places, and reading again."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cot_distill import sources
from cot_distill.errors import ConfigError, SourceError

QA = {"question": "What is 2 + 2?", "answer": 4}


def test_a_wrong_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="'raise' or 'skip', not 'ignore'"):
        sources.rows([QA], on_error=cast(Any, "ignore"))


def test_a_generator_is_read_once_only() -> None:
    source = sources.rows((row for row in [QA]), name="mine")
    assert len(list(source)) == 1
    with pytest.raises(SourceError, match="mine: a generator can be read once only"):
        list(source)


def test_a_bad_row_is_named_or_counted() -> None:
    source = sources.rows(["q", 7], name="mine", on_error="skip")  # type: ignore[list-item]
    assert [(place, task.instruction) for place, task in source.located()] == [(1, "q")]
    assert source.skipped == 1
    assert source.describe(2) == "mine, row 2"
    assert repr(source) == "<Source mine>"
    source.on_error = "raise"
    with pytest.raises(SourceError, match=r"^mine, row 2: not an object with columns but a number$"):
        list(source)
