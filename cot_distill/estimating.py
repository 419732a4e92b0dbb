"""From a few answers to what a whole run will take, with an interval that says how little a few answers tell.

How long answers are has a heavy tail: a few take many times what most take. Their logarithms are about normal, so
the interval is made there. For ``n`` answers whose logarithms have the mean ``m`` and the variance ``v``, the
logarithm of the mean is estimated by ``m + v/2``, with a variance of ``v/n + v²/(2(n-1))`` (Cox's method for the mean
of a log-normal quantity; see Zhou and Gao, "Confidence intervals for the log-normal mean", Statistics in Medicine
1997); ``log(1 + (exp(v) - 1)/N)`` is added for the luck of the ``N`` answers that are still to come. Student's t with
``n-1`` degrees of freedom takes the place of the normal quantile, since ``n`` is small.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from statistics import fmean, variance
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from cot_distill.errors import ConfigError

__all__ = ["Estimate", "Observation", "Span", "estimate"]

_LEAST_DEVIATION = 0.1
"""Of logarithms: that a few answers are alike does not prove that all will be."""
_MOST_VARIANCE = 25.0
"""Of logarithms: above it an interval says no more than "unknown"."""
_T = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753, 1.746)
"""95 % quantiles of Student's t with 1, 2, 3… degrees of freedom."""
_NORMAL, _NORMAL_SPREAD = 1.645, 1.6
"""From there on nearly ``1.645 + 1.6/degrees``."""


class Observation(NamedTuple):
    """What one answer took."""

    prompt_tokens: int
    completion_tokens: int
    """Reasoning and answer."""
    seconds: float
    """From sending the request to having the answer."""
    usd: float | None = None


class Span(NamedTuple):
    """An amount that is not known exactly."""

    expected: float
    low: float | None
    high: float | None
    """About nine times in ten the truth is between ``low`` and ``high``; None where one answer is all there is."""


class Estimate(BaseModel):
    """What a run will take, the answers included that the estimate was made from."""

    model_config = ConfigDict(frozen=True)

    answers: int
    """Attempts in all."""
    seen: int
    """Answers that this was made from."""
    concurrency: int
    prompt_tokens: Span
    completion_tokens: Span
    seconds: Span
    """On the wall, if the endpoint answers so many requests at once as fast as it answered the few."""
    usd: Span | None
    """None where prices are not known."""

    def rows(self) -> list[tuple[str, str]]:
        """The estimate as pairs of a name and a value."""
        rows = [
            ("answers", f"{self.answers:,}; estimated from {self.seen:,} of them"),
            ("prompt", f"{_written(self.prompt_tokens, _count)} tokens"),
            ("completion", f"{_written(self.completion_tokens, _count)} tokens"),
            ("cost", "not known" if self.usd is None else _written(self.usd, _money)),
            ("time", f"{_written(self.seconds, _time)} with {self.concurrency:,} at once"),
        ]
        caution = "90 % interval; retries, rate limits and answers that are asked again come on top"
        if self.completion_tokens.high is None:
            caution = "one answer tells nothing about how much they differ: take a larger sample"
        return [*rows, ("", caution)]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        return "\n".join(f"{name:<{width}}  {value}" for name, value in self.rows())

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td style='text-align:left'>{html.escape(name)}</td>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self.rows()
        )
        return f"<table>{cells}</table>"


def estimate(
    observations: Sequence[Observation], answers: int, *, concurrency: int, max_tokens: int | None = None
) -> Estimate:
    """Estimate a run from its first answers.

    Args:
        observations: The answers that there are, failed ones included: they cost as much. They should be of tasks
            that were drawn from all; the first ones of a sorted file say little.
        answers: All that there will be, these included: tasks times attempts.
        concurrency: Requests at once.
        max_tokens: The cap of an answer, which bounds the interval.

    Returns:
        Totals over all answers. What was seen is counted as it was; only the rest is estimated.

    Raises:
        ConfigError: There is no observation, or there are more than answers.

    Example:
        >>> seen = [Observation(60, 900, 21.0), Observation(70, 2500, 60.0), Observation(65, 1400, 33.0)]
        >>> estimate(seen, 1000, concurrency=64).completion_tokens.expected
        1600000.0
    """
    if not observations:
        raise ConfigError("an estimate needs one answer at least")
    if answers < len(observations):
        raise ConfigError(f"answers={answers}: it counts the {len(observations)} that were seen as well")
    if concurrency < 1:
        raise ConfigError(f"concurrency={concurrency}: must be 1 or more")
    rest = answers - len(observations)
    bound = None if max_tokens is None else float(rest * max_tokens)
    paid = [one.usd for one in observations if one.usd is not None]
    work = _total([one.seconds for one in observations], rest)
    return Estimate(
        answers=answers,
        seen=len(observations),
        concurrency=concurrency,
        prompt_tokens=_total([one.prompt_tokens for one in observations], rest),
        completion_tokens=_total([one.completion_tokens for one in observations], rest, bound),
        seconds=_wall(work, [one.seconds for one in observations], min(concurrency, answers)),
        usd=_total(paid, rest) if len(paid) == len(observations) else None,
    )


def _total(seen: Sequence[float], rest: int, bound: float | None = None) -> Span:
    """The sum of what was seen and of ``rest`` more, which together are at most ``bound``."""
    there = math.fsum(seen)
    mean = fmean(seen)
    expected = there + rest * mean
    if rest == 0:
        return Span(expected, expected, expected)
    if len(seen) == 1:
        return Span(expected, None, None)
    low, high = (there + rest * end for end in _interval(seen, rest))
    if bound is not None:
        high = min(high, there + bound)
    return Span(expected, min(low, expected), max(high, expected))


def _interval(seen: Sequence[float], rest: int) -> tuple[float, float]:
    """Between these is, nine times in ten, the mean of ``rest`` more."""
    positive = [value for value in seen if value > 0]
    if len(positive) < 2:  # nothing to take a logarithm of
        return 0.0, max(seen)
    share = len(positive) / len(seen)
    logs = [math.log(value) for value in positive]
    count = len(logs)
    spread = min(max(variance(logs), _LEAST_DEVIATION**2), _MOST_VARIANCE)
    middle = fmean(logs) + spread / 2
    doubt = spread / count + spread**2 / (2 * (count - 1)) + math.log1p(math.expm1(spread) / rest)
    reach = _quantile(count - 1) * math.sqrt(doubt)
    return share * math.exp(middle - reach), share * math.exp(middle + reach)


def _quantile(degrees: int) -> float:
    return _T[degrees - 1] if degrees <= len(_T) else _NORMAL + _NORMAL_SPREAD / degrees


def _wall(work: Span, seen: Sequence[float], at_once: int) -> Span:
    """Seconds on the wall for so many seconds of waiting. No run is shorter than its longest answer."""
    longest = max(seen)
    expected, low, high = (None if end is None else max(end / at_once, longest) for end in work)
    assert expected is not None  # noqa: S101 - it is always there
    return Span(expected, low, high)


def _written(span: Span, write: Callable[[float], str]) -> str:
    if span.low is None or span.high is None:
        return f"about {write(span.expected)}"
    return f"about {write(span.expected)} ({write(span.low)} to {write(span.high)})"


def _count(amount: float) -> str:
    return f"{_rounded(amount):,.0f}"


def _money(amount: float) -> str:
    return f"${_rounded(amount):,.2f}" if amount >= 1 else f"${_rounded(amount):,.6g}"


def _time(seconds: float) -> str:
    for name, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{_rounded(seconds / length):,.3g} {name}"
    return f"{_rounded(seconds):,.3g} s"


def _rounded(amount: float) -> float:
    """To three digits: more are not known."""
    return float(f"{amount:.3g}")
