"""Fenced blocks: what is in them, and where they stand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cot_distill.verifiers._fences import fences

BLOCKS = st.lists(st.sampled_from(["```", "~~~", "```python", "  ```", "text", "", "> ~~~", "x = 1", "````"]))


def test_a_block_has_a_language_a_text_and_a_line() -> None:
    text = "Here:\n\n```py\nx = 1\n```\nand\n~~~\nplain\n~~~\n\n```c++\nnever closed"
    assert fences(text) == [("python", "x = 1\n", 4), ("", "plain\n", 8), ("cpp", "never closed", 12)]


@given(BLOCKS.map("\n".join))
def test_the_line_is_that_of_the_first_line_of_the_text(text: str) -> None:
    lines = text.split("\n")
    for block in fences(text):
        assert lines[block.line - 2].lstrip("> \t").startswith(("```", "~~~"))
        first = block.text.split("\n")[0]
        assert not first or lines[block.line - 1].endswith(first)
