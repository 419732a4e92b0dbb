"""From the samples of a run to the rows of a dataset: filter by filter, counting what each lets through.

It knows what writers, filters and formatters are called with, and says so where something else is given. It opens no
file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike

from cot_distill.arguments import shown, takes, uncalled
from cot_distill.errors import ConfigError
from cot_distill.funnel import Funnel
from cot_distill.identity import name_of
from cot_distill.protocols import Filter
from cot_distill.types import Failure, Sample

__all__ = ["check_parts", "choose", "why_nothing"]

_AS_THEY_ARE = ("passed", "clean")
"""Filters that need no setting, and so need not be called."""

_NOT_WRONG = "not wrong"
_IN_FULL = "reasoning in full"


def check_parts(writer: object, filters: Sequence[object], formatter: object) -> None:
    """Refuse what is no part of an export, before anything is read.

    Args:
        writer: What was given as writer.
        filters: What was given as filters.
        formatter: What was given as formatter.

    Raises:
        ConfigError: One of them is something else; it says what to write.
    """
    if isinstance(writer, str | PathLike):
        raise ConfigError(f"writer={writer!r} is a path: give writers.jsonl({str(writer)!r}), or another writer")
    if (name := uncalled(writer, "writers")) is not None:
        raise ConfigError(f"{name} makes a writer: call it, as in {name}(…)")
    if not callable(writer):
        raise ConfigError(f"{shown(writer)} is no writer: give one such as writers.jsonl('train.jsonl')")
    for chosen in filters:
        _check_filter(chosen)
    _check_formatter(formatter)


def _check_filter(chosen: object) -> None:
    name = uncalled(chosen, "filters")
    if name is not None and name.removeprefix("filters.") not in _AS_THEY_ARE:
        raise ConfigError(f"{name} makes a filter: call it, as in {name}(…)")
    if (name := uncalled(chosen, "formatters")) is not None:
        raise ConfigError(f"{name} is no filter: say formatter={name}")
    if isinstance(chosen, list | tuple):
        raise ConfigError(
            f"a {type(chosen).__name__} is no filter: give the filters one by one, or with a star before the "
            f"{type(chosen).__name__}"
        )
    if isinstance(chosen, str):
        raise ConfigError(f"{chosen!r} is no filter: give the function, such as filters.passed")
    if not callable(chosen) or not takes(chosen, 1):
        raise ConfigError(
            f"{shown(chosen)} is no filter: give one such as filters.passed, or a function from samples to samples"
        )


def _check_formatter(formatter: object) -> None:
    if isinstance(formatter, str):
        raise ConfigError(f"formatter={formatter!r} is text: give the function, such as formatters.sharegpt")
    if (name := uncalled(formatter, "pairs")) is not None:
        raise ConfigError(
            f"{name} is no formatter, since it makes its rows of several samples: "
            f"writers.jsonl('rows.jsonl')({name}(run.samples()))"
        )
    if uncalled(formatter, "formatters") == "formatters.text":
        raise ConfigError("formatters.text makes a formatter: call it with the student's tokenizer")
    if not callable(formatter) or not takes(formatter, 1):
        raise ConfigError(
            f"formatter: {shown(formatter)} is none: give one such as formatters.messages, or a function of a sample"
        )


def choose(
    samples: Iterable[Sample],
    filters: Sequence[Filter],
    funnel: Funnel,
    *,
    include_wrong: bool,
    include_summaries: bool = False,
) -> Iterator[Sample]:
    """Send samples through the filters. Wrong ones stay out, unless a filter must see them, and so do summaries.

    Args:
        samples: All of them, ordered by task and attempt.
        filters: Applied in this order.
        funnel: Counts what passes.
        include_wrong: Let wrong ones through.
        include_summaries: Let those through whose reasoning is only what a provider made of it.

    Returns:
        Those that are left.

    Raises:
        ConfigError: A function given as filter does not take and give samples.
    """
    left = funnel.begin(samples)
    if not include_summaries:
        left = funnel.after(_IN_FULL, _in_full(left), quiet=True)
    must_see = [place for place, chosen in enumerate(filters, 1) if getattr(chosen, "needs_wrong", False)]
    drop_wrong_at = max(must_see, default=0)
    for place, chosen in enumerate([*filters, None]):
        if place == drop_wrong_at and not include_wrong:
            left = funnel.after(_NOT_WRONG, _not_wrong(left))
        if chosen is not None:
            left = funnel.after(chosen, _filtered(chosen, left))
    return left


def _filtered(chosen: Filter, samples: Iterator[Sample]) -> Iterator[Sample]:
    """What a filter lets through. One that is written for a single sample is told apart from a broken one."""
    try:
        left: object = chosen(samples)
    except AttributeError as error:
        if error.obj is not samples:
            raise
        raise ConfigError(f"the filter {name_of(chosen)} asks all samples for `{error.name}`: {_WAY_OUT}") from error
    if isinstance(left, str | bytes) or not isinstance(left, Iterable):
        raise ConfigError(f"the filter {name_of(chosen)} returned {shown(left)}, and not samples: {_WAY_OUT}")
    return _checked(left, name_of(chosen))


_WAY_OUT = "a filter is given all of them; to choose one by one, write lambda samples: (s for s in samples if …)"


def _checked(samples: Iterable[object], name: str) -> Iterator[Sample]:
    for sample in samples:
        if not isinstance(sample, Sample):
            raise ConfigError(f"the filter {name} gave {shown(sample)}, and not a sample: filters change nothing")
        yield sample


def why_nothing(funnel: Funnel, filters: Sequence[Filter], failure: Failure | None) -> str:
    """Say why there is not one row to write.

    Args:
        funnel: What passed.
        filters: Those of the export.
        failure: The first one of the run, if there is one.

    Returns:
        The end of a sentence: which stage took all, or why there was no sample to begin with.
    """
    if not funnel.until_none:
        failed = "" if failure is None else f"; the first failure: {failure.kind}: {failure.message}"
        return f"it has no samples{failed}"
    *before, taker = funnel.until_none
    passed = "".join(f"{stage.went_out:,} left after `{stage.name}`, " for stage in before if taker.came_in)
    all_of = f"of {taker.came_in:,} samples" if taker.came_in else "of the samples"
    return f"{passed}and `{taker.name}` kept none {all_of}{_hint(taker.name, filters)}".removeprefix("and ")


def _hint(name: str, filters: Sequence[Filter]) -> str:
    """What to do about the stage that took all, where that can be told from here."""
    if name == _NOT_WRONG:
        return ": look at the verdicts of run.samples(), or say include_wrong=True"
    if name == _IN_FULL:
        return (
            ": the provider shows a summary of the reasoning, which teaches a student to summarise; "
            "include_summaries=True lets them through"
        )
    place = next((place for place, chosen in enumerate(filters) if name_of(chosen) == name), 0)
    if place and getattr(filters[place], "needs_wrong", False):
        return f": it compares right samples with wrong ones, so put it before `{name_of(filters[place - 1])}`"
    return ""


def _in_full(samples: Iterator[Sample]) -> Iterator[Sample]:
    return (sample for sample in samples if sample.trace_kind != "summary")


def _not_wrong(samples: Iterator[Sample]) -> Iterator[Sample]:
    return (sample for sample in samples if sample.passed is not False)
