"""From samples to the rows that a :class:`~cot_distill.student.trainer.DistillationTrainer` takes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cot_distill import formatters, writers
from cot_distill.chat_parts import parts_reader
from cot_distill.encoding import StudentTokenizer, encode, encode_parts
from cot_distill.errors import ConfigError
from cot_distill.protocols import Formatter
from cot_distill.types import Row, Sample

if TYPE_CHECKING:
    import datasets

__all__ = ["ANSWER", "EOS", "PROMPT", "THINK", "encode_dataset", "encode_rows"]

PROMPT, THINK, ANSWER, EOS = range(4)
"""What the numbers in the column ``spans`` mean."""

log = logging.getLogger("cot_distill")


def encode_rows(
    tokenizer: StudentTokenizer,
    samples: Iterable[Sample],
    *,
    formatter: Formatter = formatters.messages,
    max_length: int | None = None,
) -> Iterator[Row]:
    """Turn samples into rows of token ids.

    Args:
        tokenizer: The student's.
        samples: Such as ``run.samples()``; those that a verifier called wrong are left out.
        formatter: Makes of a sample what the chat template gets: any of :mod:`cot_distill.formatters`.
        max_length: Leave out rows with more tokens than this. A trace is never cut: without its end it teaches a
            student not to come to one. How many were left out is logged as a warning.

    Yields:
        ``id`` and ``attempt`` of the sample; ``input_ids``, up to the end of the answer; ``labels``, the same with
        -100 in place of the prompt; ``spans``, for each token 0 (prompt), 1 (reasoning), 2 (answer) or 3 (its end).

    Raises:
        ConfigError: The chat template loses a trace; the message names the formatter that works.
    """
    read = parts_reader(tokenizer, formatter)
    kept = left_out = 0
    for sample in samples:
        if sample.passed is False:
            continue
        parts = read(sample).parts
        # The second way only finds out what to say.
        encoded = encode(tokenizer, sample, formatter=formatter) if parts is None else encode_parts(tokenizer, parts)
        end = encoded.spans.eos.stop
        if max_length is not None and end > max_length:
            left_out += 1
            continue
        kept += 1
        spans = [kind for kind, span in enumerate(encoded.spans) for _ in range(span.start, span.stop)]
        row = {"input_ids": list(encoded.ids[:end]), "labels": list(encoded.labels[:end]), "spans": spans}
        yield {"id": str(sample.task.id), "attempt": sample.attempt, **row}
    if left_out:
        log.warning(
            "%d of %d samples have more than %d tokens (max_length) and were left out",
            left_out,
            kept + left_out,
            max_length,
        )


def encode_dataset(
    tokenizer: StudentTokenizer,
    samples: Iterable[Sample],
    *,
    formatter: Formatter = formatters.messages,
    max_length: int | None = None,
    **options: Any,
) -> datasets.Dataset | datasets.DatasetDict:
    """Turn samples into a dataset for a :class:`~cot_distill.student.trainer.DistillationTrainer`.

    Args:
        tokenizer: As in :func:`encode_rows`.
        samples: As there.
        formatter: As there.
        max_length: As there.
        **options: As of :func:`cot_distill.writers.hugging_face`, such as ``save_to_disk`` and ``seed``.

    Returns:
        The rows of :func:`encode_rows`.

    Raises:
        ConfigError: The chat template loses a trace, or no row is left.
    """
    rows = encode_rows(tokenizer, samples, formatter=formatter, max_length=max_length)
    first = next(rows, None)
    if first is None:
        raise ConfigError("no sample is left to train on: look at `samples`, and at `max_length` if you gave one")
    return writers.hugging_face(**options)(_with(first, rows))


def _with(first: Row, others: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from others
