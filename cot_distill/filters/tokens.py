"""Choosing by length in tokens.

The count is that of the student's tokenizer where one is given, else the provider's, else an estimate. How a text is
counted is for :mod:`cot_distill.lengths`.
"""

from __future__ import annotations

from collections.abc import Iterator

from cot_distill.errors import ConfigError
from cot_distill.filters._dropping import Decisions, Dropping, OnDrop, at_least
from cot_distill.filters._text import Part, check_part, text_of
from cot_distill.lengths import Tokenizer, count_tokens, estimate_tokens
from cot_distill.protocols import Filter
from cot_distill.types import Sample

__all__ = ["counted_tokens", "within_tokens"]


def within_tokens(
    minimum: int | None = None,
    maximum: int | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    part: Part = "reasoning",
    on_drop: OnDrop | None = None,
) -> Filter:
    """Keep samples that are neither too short nor too long.

    Without a tokenizer the provider's own count is taken, which is in tokens of the *teacher*; where there is none,
    or where it counts reasoning that we did not get to see, it is estimated from the text
    (:func:`cot_distill.lengths.estimate_tokens`, right within about a quarter), and the reason says "about".

    Args:
        minimum: The fewest tokens that are kept. Default: no bound.
        maximum: The most tokens that are kept. Default: no bound.
        tokenizer: That of the student: an object with ``encode`` (what it adds around an empty text is not counted),
            or a function that returns the tokens of a text, or their number.
        part: What is measured: ``"reasoning"``, ``"answer"``, or ``"both"`` together.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        A filter.

    Raises:
        ConfigError: There is no bound, the bounds contradict one another, or this is no tokenizer.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> keep = within_tokens(4, tokenizer=str.split, on_drop=lambda _, reason: print(reason))
        >>> len(list(keep([sample])))
        1
        >>> keep = within_tokens(6, tokenizer=str.split, on_drop=lambda _, reason: print(reason))
        >>> len(list(keep([sample])))
        5 tokens of reasoning, fewer than 6
        0
    """
    check_part(part, "within_tokens(part=…)")
    if minimum is None and maximum is None:
        raise ConfigError("within_tokens needs a minimum, a maximum, or both, in tokens")
    for bound, name in ((minimum, "minimum"), (maximum, "maximum")):
        at_least(0, 0 if bound is None else bound, f"within_tokens({name})")
    low, high = minimum or 0, float("inf") if maximum is None else maximum
    if low > high:
        raise ConfigError(f"within_tokens({minimum}, {maximum}) keeps nothing: the minimum is above the maximum")
    if tokenizer is not None:
        count_tokens("", tokenizer)  # what is no tokenizer shows at once
    what = "reasoning and answer" if part == "both" else part

    def decide(samples: Iterator[Sample]) -> Decisions:
        for sample in samples:
            text = text_of(sample, part)
            known = counted_tokens(sample, part) if tokenizer is None else count_tokens(text, tokenizer)
            tokens = estimate_tokens(text) if known is None else known
            if low <= tokens <= high:
                yield sample, None
            else:
                about = "about " if known is None else ""
                bound = f"fewer than {low:,}" if tokens < low else f"more than {high:,}"
                yield sample, f"{about}{tokens:,} tokens of {what}, {bound}"

    bounds = ", ".join("…" if bound is None else str(bound) for bound in (minimum, maximum))
    return Dropping(f"within_tokens({bounds})", decide, on_drop)


def counted_tokens(sample: Sample, part: Part) -> int | None:
    """How many tokens the provider counted.

    Args:
        sample: The sample.
        part: Of it.

    Returns:
        The number; None where it is not told, or is not that of the text that we have.
    """
    if sample.trace_kind != "full" and part != "answer":
        return None  # the provider counts the thinking that it hides
    usage = sample.usage
    counts = {
        "reasoning": usage.reasoning_tokens,
        "answer": usage.answer_tokens,
        "both": usage.completion_tokens,
    }
    return counts[part] or None  # some servers say 0 for what they do not count; no part of a trace is empty
