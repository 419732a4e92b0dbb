"""Cutting the elements of an array out of JSON, wherever the seams are."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cot_distill.sources.json_stream import array_elements


class Trickle(io.BytesIO):
    """Gives a few bytes at a time, so that every place may be a seam."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self.step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.step)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[],: \n\u00e9\u2028\U0001f600'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\]'), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, max_size=6), st.sampled_from([None, 2]), st.booleans(), st.integers(1, 9))
def test_the_elements_of_an_array_are_cut_out_exactly(
    rows: list[Any], indent: int | None, ascii_only: bool, step: int
) -> None:
    def elements(value: object) -> list[Any]:
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
        return [json.loads(element) for element in array_elements(Trickle(text, step))]

    assert elements(rows) == rows
    objects = [{"row": row} for row in rows] or [{}]
    assert elements({"before": [1, *rows], "data": objects, "after": {"rows": rows}}) == objects
