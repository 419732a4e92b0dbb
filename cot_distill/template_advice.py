"""Which layout keeps the trace, where the one that was asked for does not.

This file tries the formatters that there are, in the order in which trainers like them. What becomes of a row, it
leaves to :mod:`cot_distill.chat_parts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from cot_distill import formatters
from cot_distill.chat_parts import parts_reader
from cot_distill.chat_rendering import ChatTokenizer
from cot_distill.errors import DistillError
from cot_distill.formatters.rendered import rendered
from cot_distill.protocols import Formatter
from cot_distill.types import Sample

__all__ = ["NO_FORMATTER", "Suggestion", "suggest", "way_out"]

NO_FORMATTER = "No formatter mends this: give the tokenizer another `chat_template` (TRL: `chat_template_path`)."


class Suggestion(NamedTuple):
    """A formatter that works, and how to write it down."""

    code: str
    formatter: Formatter


def suggest(tokenizer: ChatTokenizer, samples: Sequence[Sample], formatter: Formatter) -> Suggestion | None:
    """Find a formatter that keeps the traces of all these samples, as near to the given one as may be.

    Args:
        tokenizer: The student's.
        samples: A few samples; they are rendered several times.
        formatter: The one that does not do.

    Returns:
        The first that works; None if there is none.
    """
    for suggestion in _candidates(tokenizer, _layout(samples[0], formatter)):
        read = parts_reader(tokenizer, suggestion.formatter)
        if not any(read(sample).flaws for sample in samples):
            return suggestion
    return None


def way_out(tokenizer: ChatTokenizer, samples: Sequence[Sample], formatter: Formatter) -> str:
    """Say in a sentence what to do instead.

    Args:
        tokenizer: The student's.
        samples: A few samples.
        formatter: The one that does not do.

    Returns:
        The sentence.
    """
    found = suggest(tokenizer, samples, formatter)
    return NO_FORMATTER if found is None else f"Use {found.code}, which keeps it."


def _layout(sample: Sample, formatter: Formatter) -> str:
    try:
        row = formatter(sample)
    except DistillError:
        return "messages"
    return "prompt_completion" if "prompt" in row else "text" if "text" in row else "messages"


def _candidates(tokenizer: ChatTokenizer, layout: str) -> Iterator[Suggestion]:
    ways: tuple[formatters.Thinking | None, ...] = (None, *get_args(formatters.Thinking))
    options = {way: "" if way is None else f'thinking="{way}"' for way in ways}
    if layout == "text":
        for way, option in options.items():
            code = f"formatters.text(tokenizer{option and ', ' + option})"
            yield Suggestion(code, formatters.text(tokenizer, thinking=way))
    if layout == "messages":
        for way, option in options.items():
            code = f"formatters.messages({option})".removesuffix("()")
            yield Suggestion(code, formatters.messages(thinking=way))
    for way, option in options.items():
        code = f"formatters.prompt_completion({option})".removesuffix("()")
        yield Suggestion(code, formatters.prompt_completion(thinking=way))
    yield Suggestion("formatters.rendered(tokenizer)", rendered(tokenizer))
