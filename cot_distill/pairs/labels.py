"""Single completions with a label, for KTO."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from cot_distill.arguments import check_samples
from cot_distill.pairs.attempts import Tally, by_task
from cot_distill.pairs.layout import Layout, Style, Thinking, layout
from cot_distill.types import Row, Sample

__all__ = ["kto"]

log = logging.getLogger("cot_distill")


def kto(
    samples: Iterable[Sample],
    *,
    balance: bool = False,
    style: Style = "conversational",
    thinking: Thinking | None = None,
) -> Iterator[Row]:
    r"""Make rows ``prompt``, ``completion``, ``label``: every judged sample, with whether it is right.

    What no verifier judged is left out, and so is a text that came before for the same task. The rows also hold
    ``id`` and ``attempt``; TRL ignores them. Shuffle before training: TRL estimates the KL term with the completion
    of the row before, and that should be one for another prompt.

    Args:
        samples: Ordered by task, with the wrong ones: ``run.samples()``.
        balance: Take of each task as many right samples as wrong ones, and nothing of tasks that have only one sort.
            Default: all; then weigh the two sorts with ``desirable_weight`` and ``undesirable_weight`` of TRL.
        style: Messages or text.
        thinking: A field of its own for the reasoning, as for :func:`cot_distill.formatters.messages`.

    Returns:
        The rows, ordered as the samples. Where there is not one, the end of it raises
        :class:`~cot_distill.errors.ConfigError` with the counts.

    Raises:
        ConfigError: No such style, or these are no samples.

    Example:
        >>> from cot_distill.types import Task, Trace, Verdict
        >>> trace, verdict = Trace(reasoning="2 and 2 make 4.", answer="4"), Verdict(by="exact", passed=True)
        >>> row, = kto([Sample(task=Task(instruction="2 + 2?"), trace=trace, verdicts=(verdict,))], style="plain")
        >>> row["prompt"], row["completion"], row["label"]
        ('2 + 2?', '<think>\n2 and 2 make 4.\n</think>\n\n4', True)
    """
    check_samples(samples, "pairs.kto()")
    return _rows(samples, balance, layout(style, thinking))


def _rows(samples: Iterable[Sample], balance: bool, laid_out: Layout) -> Iterator[Row]:
    tally, made = Tally(), {True: 0, False: 0}
    for right, wrong, _ in by_task(samples, tally):
        few = min(len(right), len(wrong)) if balance else None
        chosen = [*((sample, True) for sample in right[:few]), *((sample, False) for sample in wrong[:few])]
        for sample, label in sorted(chosen, key=lambda pair: pair[0].attempt):
            prompt = laid_out.prompt(sample.task)
            made[label] += 1
            yield {
                "prompt": prompt,
                "completion": laid_out.completion(prompt, sample.trace),
                "label": label,
                "id": sample.task.id,
                "attempt": sample.attempt,
            }
    if not any(made.values()):
        leave_out = "leave out `balance`, or " if balance else ""
        raise tally.nothing("sample with a label", f"{leave_out}ask each task more often (`attempts=8`)")
    if not all(made.values()):
        log.warning("pairs.kto made rows of one label only: %d right, %d wrong", made[True], made[False])
