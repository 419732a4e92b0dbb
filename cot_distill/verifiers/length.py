"""Judging by length: neither too short nor too long, in tokens, words or characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.lengths import Tokenizer, Unit, count_tokens, measure
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._flaws import Part, check_part, texts

__all__ = ["length"]


def length(
    minimum: int | None = None,
    maximum: int | None = None,
    *,
    part: Part = "reasoning",
    unit: Unit = "tokens",
    tokenizer: Tokenizer | None = None,
) -> Verifier:
    """Make a verifier that wants a text neither too short nor too long.

    Args:
        minimum: The shortest that passes. Default: no bound.
        maximum: The longest that passes. Default: no bound.
        part: What is measured: ``"reasoning"``, ``"answer"``, or ``"both"`` together.
        unit: What to count in. Words are told apart by white space, so in Chinese or Japanese they mean nothing.
        tokenizer: The student's: an object with ``encode``, or a function that returns the tokens of a text or their
            number. Default: :func:`cot_distill.lengths.estimate_tokens`; the reason then says "about".

    Returns:
        A verifier named "length".

    Raises:
        ConfigError: There is no bound, the bounds contradict one another, or a setting is none.

    Example:
        >>> verify = length(minimum=6, maximum=2000, unit="words")
        >>> verify(Task(instruction="2 + 2?"), Trace(reasoning="2 and 2 make 4.", answer="4")).reason
        '5 words of reasoning, fewer than 6'
    """
    check_part(part)
    if unit not in get_args(Unit):
        raise ConfigError(f"unit={unit!r} is none of {', '.join(map(repr, get_args(Unit)))}")
    if minimum is None and maximum is None:
        raise ConfigError("length(minimum, maximum) needs at least one of the two")
    for name, bound in (("minimum", minimum), ("maximum", maximum)):
        if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool) or bound < 0):
            raise ConfigError(f"length({name}={bound!r}) needs a whole number, 0 or more")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ConfigError(f"length({minimum}, {maximum}) passes nothing: the minimum is above the maximum")
    if tokenizer is not None:
        if unit != "tokens":
            raise ConfigError(f"length(unit={unit!r}) has no use for a tokenizer: leave one of the two out")
        count_tokens("", tokenizer)  # whatever is wrong with it shows now
    return _Length(minimum, maximum, part, unit, tokenizer)


@dataclass(frozen=True)
class _Length:
    minimum: int | None
    maximum: int | None
    part: Part
    unit: Unit
    tokenizer: Any
    name: ClassVar[str] = "length"
    __name__: ClassVar[str] = "length"

    @property
    def light(self) -> bool:
        """Counting tokens takes milliseconds, and who knows how long a tokenizer takes."""
        return self.unit != "tokens"

    @property
    def digest(self) -> str:
        """By its name, where a tokenizer has one: what it is made of may be a hundred thousand words."""
        named = getattr(self.tokenizer, "name_or_path", None) or getattr(self.tokenizer, "name", None)
        tokenizer = named if isinstance(named, str) else identity_of(self.tokenizer)
        return repr((self.minimum, self.maximum, self.part, self.unit, tokenizer))

    def __call__(self, _task: Task, trace: Trace, /) -> Verdict:
        number = sum(measure(text, self.unit, self.tokenizer) for _, text in texts(trace, self.part))
        about = "about " if self.unit == "tokens" and self.tokenizer is None else ""
        reason = f"{about}{number:,} {self.unit} of {'reasoning and answer' if self.part == 'both' else self.part}"
        short = self.minimum is not None and number < self.minimum
        long = self.maximum is not None and number > self.maximum
        if short:
            reason += f", fewer than {self.minimum:,}"
        if long:
            reason += f", more than {self.maximum:,}"
        return Verdict(by=self.name, passed=not (short or long), about="quality", reason=reason)
