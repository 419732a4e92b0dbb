"""Whether a student's chat template lets it learn the traces, told before a training run is paid for.

This file counts what :mod:`cot_distill.chat_parts` finds in rows, and says what to do. It trains nothing and loads
nothing: a template given as text needs Jinja, a tokenizer brings what it needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from cot_distill import formatters
from cot_distill.chat_parts import Reading, parts_reader
from cot_distill.chat_rendering import ChatTokenizer, FlawKind
from cot_distill.encoding import encode_parts
from cot_distill.errors import ConfigError
from cot_distill.jinja_template import JinjaTemplate
from cot_distill.lengths import estimate_tokens
from cot_distill.protocols import Filter, Formatter
from cot_distill.template_advice import suggest, way_out
from cot_distill.template_report import Problem, TemplateReport
from cot_distill.types import Sample

__all__ = ["TemplateReport", "check_template", "refuse_lost"]

_EXAMPLES = 3
_COUNTED = (*get_args(FlawKind), "cut", "cut_before_answer")


def check_template(
    tokenizer: ChatTokenizer | str,
    samples: Iterable[Sample],
    *,
    formatter: Formatter | None = None,
    max_length: int | None = None,
) -> TemplateReport:
    """Render samples through a student's chat template, and report whether it can learn from them.

    Args:
        tokenizer: The student's: anything with ``apply_chat_template``; or its chat template, as Jinja text.
        samples: At least one. All are looked at, one at a time.
        formatter: The layout that the trainer will get. Default: :func:`cot_distill.formatters.messages`.
        max_length: Where the trainer will cut its rows, in tokens. Estimated from the text if the tokenizer has no
            ``encode``.

    Returns:
        The report. ``print`` it, read its fields, or call its ``raise_for_problems()``.

    Raises:
        ConfigError: There is no sample, or this is neither a tokenizer nor a template.
        MissingExtraError: A Jinja text needs the extra "template".

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> template = (
        ...     "{% for turn in messages %}<{{ turn.role }}>{{ turn.content.split('</think>')[-1] }}<end>{% endfor %}"
        ...     "{% if add_generation_prompt %}<assistant>{% endif %}"
        ... )
        >>> sample = Sample(task=Task(id=7, instruction="2 + 2?"), trace=Trace(reasoning="2 + 2 is 4.", answer="4"))
        >>> report = check_template(template, [sample])
        >>> report.ok, report.dropped, report.advice
        (False, 1, 'formatters.rendered(tokenizer)')
    """
    student = JinjaTemplate(tokenizer) if isinstance(tokenizer, str) else tokenizer
    layout = formatters.messages if formatter is None else formatter
    read = parts_reader(student, layout)
    flawed: list[Sample] = []
    counts: Counter[str] = Counter()
    problems: dict[str, Problem] = {}
    rows = longest = 0
    first: Reading | None = None

    def book(kind: str, message: str, sample: Sample) -> None:
        counts[kind] += 1
        found = problems.setdefault(kind, Problem(kind, message, 0, ()))
        tasks = tuple(dict.fromkeys((*found.tasks, sample.task.id)))[:_EXAMPLES]
        problems[kind] = found._replace(rows=counts[kind], tasks=tasks)

    for sample in samples:
        reading = read(sample)
        rows, first = rows + 1, first or reading
        for flaw in reading.flaws:
            book(flaw.kind, flaw.message, sample)
        if reading.flaws and len(flawed) < _EXAMPLES:
            flawed.append(sample)
        if max_length is not None and reading.parts is not None:
            before, whole = _lengths(student, reading)
            longest = max(longest, whole)
            if whole > max_length:
                book("cut", f"is longer than max_length={max_length}", sample)
                counts["cut_before_answer"] += before >= max_length
    if first is None:
        raise ConfigError("check_template needs at least one sample: a report on none would say that all is well")
    suggestion = suggest(student, flawed, layout) if flawed else None
    return TemplateReport(
        rows=rows,
        problems=tuple(problems.values()),
        **{kind: counts[kind] for kind in _COUNTED},
        opened=first.opened,
        trained=first.trained,
        max_length=max_length,
        longest=longest or None,
        estimated=not callable(getattr(student, "encode", None)),
        advice=None if suggestion is None else suggestion.code,
    )


def refuse_lost(tokenizer: ChatTokenizer | str, *, formatter: Formatter = formatters.messages) -> Filter:
    """Make a filter that lets every sample through, and ends an export at the first that the template would spoil.

    Args:
        tokenizer: As for :func:`check_template`.
        formatter: The formatter of the export.

    Returns:
        The filter. It raises :class:`~cot_distill.errors.ConfigError`, which names the task, what is wrong, and the
        formatter that works.

    Raises:
        ConfigError: This is neither a tokenizer nor a template.
    """
    student = JinjaTemplate(tokenizer) if isinstance(tokenizer, str) else tokenizer
    read = parts_reader(student, formatter)

    def whole(samples: Iterable[Sample]) -> Iterator[Sample]:
        for sample in samples:
            flaws = read(sample).flaws
            if flaws:
                advice = way_out(student, [sample], formatter)
                raise ConfigError(f"task {sample.task.id!r}: the chat template {flaws[0].message}. {advice}")
            yield sample

    return whole


def _lengths(tokenizer: Any, reading: Reading) -> tuple[int, int]:
    """Where the answer begins and where its end is, in tokens from the beginning of the text."""
    assert reading.parts is not None  # noqa: S101 - the caller has looked
    if callable(getattr(tokenizer, "encode", None)):
        spans = encode_parts(tokenizer, reading.parts).spans
        return spans.answer.start, spans.eos.stop
    prompt, think, answer, end, _ = reading.parts
    before = estimate_tokens(prompt) + estimate_tokens(think)
    return before, before + estimate_tokens(answer) + estimate_tokens(end)
