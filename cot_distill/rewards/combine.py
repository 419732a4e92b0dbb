"""One reward out of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cot_distill.arguments import check_number, shown, uncalled
from cot_distill.errors import ConfigError
from cot_distill.identity import name_of
from cot_distill.rewards.reading import Reward

__all__ = ["combine"]


def combine(weights: Mapping[Reward, float]) -> Reward:
    """Add rewards up, each times its weight.

    A reward that does not apply (None) adds nothing, and the others are not raised to make up for it: this is the sum
    that TRL itself makes of ``reward_funcs`` and ``reward_weights``. Where none applies, the sum is None as well.

    The mean of each part is logged under its name, where the trainer passes ``log_metric``.

    Args:
        weights: The rewards, also of your own or of TRL, and what each counts. Negative weights punish.

    Returns:
        A reward named "combined".

    Raises:
        ConfigError: There is nothing to add up, or something is no reward or no weight.

    Example:
        >>> def polite(prompts, completions, **columns):
        ...     return [float("please" in text) for text in completions]
        >>> def brief(prompts, completions, **columns):
        ...     return [None for _ in completions]
        >>> combine({polite: 0.5, brief: 1.0})(["2 + 2?"] * 2, ["4, if you please", "4"])
        [0.5, 0.0]
    """
    if not isinstance(weights, Mapping) or not weights:
        raise ConfigError(
            "combine() needs a dict with at least one reward and its weight, such as "
            f"combine({{answer_correct(): 1.0}}), not {shown(weights)}"
        )
    for reward, weight in weights.items():
        if (name := uncalled(reward, "rewards")) is not None:
            raise ConfigError(f"combine() was given {name}, which makes a reward: call it, as in {name}(…)")
        if not callable(reward):
            raise ConfigError(f"combine() was given {shown(reward)}, which is no reward")
        check_number(weight, f"combine({{{name_of(reward)}: …}})")
    return _Combined(tuple(weights.items()))


@dataclass(frozen=True, eq=False)
class _Combined:
    parts: tuple[tuple[Reward, float], ...]
    __name__: ClassVar[str] = "combined"

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        log_metric = columns.get("log_metric")
        sums: list[float | None] = [None] * len(completions)
        for reward, weight in self.parts:
            values = reward(prompts=prompts, completions=completions, **columns)
            for place, value in enumerate(values):
                if value is not None:
                    sums[place] = (sums[place] or 0.0) + weight * value
            known = [value for value in values if value is not None]
            if log_metric is not None and known:
                log_metric(f"combined/{name_of(reward)}", sum(known) / len(known))
        return sums
