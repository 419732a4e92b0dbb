"""Lengths in every unit, with any tokenizer, and an estimate that is near what a real one counts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.errors import ConfigError
from cot_distill.lengths import count_tokens, estimate_tokens, measure

TEXTS = Path(__file__).parent / "verifiers" / "texts"
QWEN = {
    "ar": 195, "de": 188, "en": 179, "es": 188, "fr": 204, "it": 183, "ja": 175, "ko": 198, "latex": 346, "nl": 197,
    "pl": 228, "pt": 191, "python": 237, "ru": 186, "zh": 149,
}  # fmt: skip
"""Tokens of the files as the tokenizer of Qwen 3.6 counts them."""


@pytest.mark.parametrize("name", QWEN)
def test_the_estimate_is_right_within_a_quarter(name: str) -> None:
    text = (TEXTS / f"{name}.txt").read_text(encoding="utf-8").strip()
    assert 0.75 < estimate_tokens(text) / QWEN[name] < 1.25


def test_every_digit_is_a_token() -> None:
    assert 1000 <= estimate_tokens("1234567890 " * 100) <= 1200


class Encoding(list[int]):
    """As `tokenizers` returns it: something with a length."""


class WithEnds:
    """Adds a token at both ends, and can also be called, as a tokenizer of transformers does."""

    def encode(self, text: str) -> Encoding:
        return Encoding([0, *map(ord, text), 1])

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": self.encode(text), "attention_mask": []}


class Strict:
    """Refuses control tokens in `encode`, as tiktoken does."""

    def encode(self, text: str) -> list[int]:
        raise ValueError("disallowed special token")

    def encode_ordinary(self, text: str) -> list[int]:
        return list(map(ord, text))


def test_any_tokenizer_will_do() -> None:
    assert count_tokens("abcd", WithEnds()) == 4
    assert count_tokens("<|im_end|>", Strict()) == 10
    assert count_tokens("a b", str.split) == 2
    assert count_tokens("a b", len) == 3
    with pytest.raises(ConfigError, match="'gpt2' is none"):
        count_tokens("a b", "gpt2")  # type: ignore[arg-type]


def test_units() -> None:
    assert measure("a b  c\n", "characters") == 7
    assert measure("a b  c\n", "words") == 3
    assert measure("a b  c\n", "tokens", WithEnds()) == 7
    assert measure("a b  c", "tokens") == estimate_tokens("a b  c") == 3


@given(st.text())
def test_the_estimate_is_never_more_than_the_characters(text: str) -> None:
    assert 0 <= estimate_tokens(text) <= len(text)


def test_a_megabyte_takes_no_time() -> None:
    for text in ("a" * 1_000_000, "\n" * 1_000_000, "1 " * 500_000, "\ud800" * 1_000_000):
        began = time.perf_counter()
        estimate_tokens(text)
        assert time.perf_counter() - began < 2
