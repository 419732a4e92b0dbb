"""How long a text is: in characters, in words, or in tokens of whatever tokenizer there is.

This file knows no tokenizer: what turns a text into something that can be counted will do. Where there is none it
estimates, and whoever reports such a number says "about".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sized
from typing import Literal, Protocol

from cot_distill.errors import ConfigError

__all__ = ["Encoder", "Tokenizer", "Unit", "count_tokens", "estimate_tokens", "measure"]

Unit = Literal["tokens", "words", "characters"]


class Encoder(Protocol):
    """A tokenizer as most libraries have it: of transformers, tokenizers, tiktoken, sentencepiece."""

    def encode(self, text: str, /) -> Sized:
        """Return the tokens of a text.

        Args:
            text: Any text.

        Returns:
            Something with as many elements as there are tokens.
        """
        ...


Tokenizer = Encoder | Callable[[str], int | Sized]
"""Counts tokens: an object with ``encode``, or a function that returns the tokens, or their number."""

_ABOUT_A_TOKEN = re.compile(
    r"[A-Za-z\u00c0-\u00ff]{1,8}"
    r"|[\u0100-\u024f]"  # the Latin letters of Polish, Czech, Turkish…
    r"| (?=\d)|\d"  # new tokenizers take every digit by itself, and the space before a number as well
    r"|[^\w\s]{1,2}"
    r"|\n+"
    r"|[\u0250-\u2dff]{1,4}"  # alphabets other than Latin
    r"|[\u2e80-\U0003ffff]{1,2}"  # scripts without spaces
)


def measure(text: str, unit: Unit, tokenizer: Tokenizer | None = None) -> int:
    """Tell how long a text is.

    Args:
        text: The text.
        unit: What to count in. A word is what stands between white space.
        tokenizer: For tokens. Default: an estimate.

    Returns:
        The length.

    Example:
        >>> measure("2 and 2 make 4.", "words"), measure("2 and 2 make 4.", "tokens", list)
        (5, 15)
    """
    if unit == "characters":
        return len(text)
    if unit == "words":
        return len(text.split())
    return estimate_tokens(text) if tokenizer is None else count_tokens(text, tokenizer)


def count_tokens(text: str, tokenizer: Tokenizer) -> int:
    """Count the tokens of a text, without those that a tokenizer adds around any text.

    Args:
        text: The text.
        tokenizer: Who knows.

    Returns:
        How many there are.

    Raises:
        ConfigError: This is no tokenizer.
    """
    # In this order: what tiktoken calls `encode` refuses texts that hold a control token, and what a tokenizer of
    # transformers returns when it is called has two elements always.
    encode = getattr(tokenizer, "encode_ordinary", None) or getattr(tokenizer, "encode", None)
    if callable(encode) and not isinstance(tokenizer, str):  # the name of one, perhaps
        return len(encode(text)) - len(encode(""))
    if not callable(tokenizer):
        raise ConfigError(f"a tokenizer has `encode` or is a function of a text; {tokenizer!r} is none")
    found = tokenizer(text)
    return found if isinstance(found, int) else len(found)


def estimate_tokens(text: str) -> int:
    """Guess the number of tokens from the kinds of characters.

    About a token are: 8 Latin letters of one word, one digit, two signs, two characters of Chinese or Japanese, four
    letters of another alphabet, a run of line breaks. So an English text has about 4 characters a token, a derivation
    in LaTeX 2.5, Chinese 1.6. Measured against the tokenizer of Qwen 3.6, this is right within a quarter for prose in
    twelve languages, for LaTeX and for Python; older ones need up to 43 % more (Korean) where it is not English.

    Args:
        text: The text.

    Returns:
        The number, about.

    Example:
        >>> estimate_tokens("The answer is 42.")
        7
    """
    return len(_ABOUT_A_TOKEN.findall(text))
