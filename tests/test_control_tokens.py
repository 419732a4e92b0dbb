"""Control tokens of chat formats are known by their looks; what only looks alike is left alone."""

from __future__ import annotations

import pytest

from cot_distill.control_tokens import CONTROL_TOKENS


@pytest.mark.parametrize(
    "token",
    ["<|im_end|>", "<|eot_id|>", "<|channel>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<end_of_turn>", "<bos>",
     "[INST]", "[/INST]", "<<SYS>>", "</s>", "<s>"],
)  # fmt: skip
def test_tokens(token: str) -> None:
    found = CONTROL_TOKENS.search(f"a{token}b")
    assert found is not None
    assert found[0] == token


@pytest.mark.parametrize("text", ["a <| b |> c", "x | y", "[instance]", "<br>", "<span>", "xs |> map", "<|>", "|x|"])
def test_what_only_looks_alike(text: str) -> None:
    assert CONTROL_TOKENS.search(text) is None
