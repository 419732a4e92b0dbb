"""A reward for how long the student thinks. It never looks at the answer, nor whether it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from cot_distill.arguments import check_number
from cot_distill.errors import ConfigError
from cot_distill.lengths import Tokenizer, Unit, count_tokens, measure
from cot_distill.rewards.reading import Reward, check_batch, check_prefilled, spans
from cot_distill.trace import Prefilled

__all__ = ["reasoning_length"]


def reasoning_length(
    *,
    target: int | None = None,
    maximum: int | None = None,
    unit: Unit = "characters",
    tokenizer: Tokenizer | None = None,
    prefilled: Prefilled = "auto",
) -> Reward:
    r"""Reward thinking of a certain length, from 0 to 1.

    With ``target`` it is 1 at that length and falls evenly to 0 at nothing and at twice the length. With ``maximum``
    it is 1 up to there and falls evenly to 0 at twice the length. Without any thinking it is 0 in both cases: not to
    think is no way to think briefly. White space at both ends is not counted.

    Args:
        target: The length to aim at.
        maximum: The length up to which all is well.
        unit: What the length is counted in.
        tokenizer: For tokens: the student's, or a function that returns the tokens of a text, or their number.
            Default: an estimate (:func:`cot_distill.lengths.estimate_tokens`).
        prefilled: Whether the prompt opened the thinking tag. It matters only for thinking that was cut before the
            closing tag: ``"auto"`` sees an opened tag in prompts that are text, and in the student's own text.

    Returns:
        A reward named "reasoning_length". The length is that of everything before the last ``</think>``, or of the
        reasoning field.

    Raises:
        ConfigError: Not just one of ``target`` and ``maximum``, or a unit or tokenizer that does not fit.

    Example:
        >>> reward = reasoning_length(target=4, unit="words")
        >>> reward(["2 + 2?"] * 2, ["<think>2 and 2 make 4</think>4", "<think>Easy, 4.</think>4"])
        [0.75, 0.5]
    """
    given = [length for length in (target, maximum) if length is not None]
    for length in given:
        check_number(length, "reasoning_length(target=…, maximum=…)")
    if len(given) != 1 or given[0] < 1:
        raise ConfigError(
            f"reasoning_length needs either `target` or `maximum`, and it at least 1; got target={target}, "
            f"maximum={maximum}"
        )
    if unit not in get_args(Unit):
        raise ConfigError(f"unit={unit!r} is none of {', '.join(map(repr, get_args(Unit)))}")
    if tokenizer is not None and unit != "tokens":
        raise ConfigError(f"a tokenizer does not count {unit}: say unit='tokens', or leave `tokenizer` out")
    if tokenizer is not None:
        count_tokens("", tokenizer)  # what is no tokenizer shows here, not in the middle of training
    check_prefilled(prefilled)
    return _Length(target=target, maximum=maximum, unit=unit, tokenizer=tokenizer, prefilled=prefilled)


@dataclass(frozen=True, eq=False)
class _Length:
    target: int | None
    maximum: int | None
    unit: Unit
    tokenizer: Tokenizer | None
    prefilled: Prefilled
    __name__: ClassVar[str] = "reasoning_length"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **_columns: Any) -> list[float | None]:
        check_batch(prompts, completions)
        return [self._reward(*pair) for pair in zip(prompts, completions, strict=True)]

    def _reward(self, prompt: object, completion: object) -> float:
        thinking = (spans(prompt, completion, self.prefilled).thinking or "").strip()
        if not thinking:
            return 0.0
        length = measure(thinking, self.unit, self.tokenizer)
        if self.target is not None:
            return max(0.0, (self.target - abs(length - self.target)) / self.target)
        assert self.maximum is not None  # noqa: S101 - one of the two is always there
        return min(1.0, max(0.0, (2 * self.maximum - length) / self.maximum))
