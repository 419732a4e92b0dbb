"""Rows with the teacher's log-probabilities, for logits distillation."""

from __future__ import annotations

from cot_distill.errors import ConfigError
from cot_distill.formatters.layouts import messages
from cot_distill.logprobs import read_logprobs, topk_columns
from cot_distill.protocols import Formatter
from cot_distill.types import Completion, Row, Sample

__all__ = ["topk"]


def topk(formatter: Formatter = messages) -> Formatter:
    """Add the columns ``topk_logprobs``, and ``token_ids`` and ``topk_ids``, to the rows of a formatter.

    They run over the tokens of the completion, as the teacher said them; :func:`cot_distill.logprobs.topk_columns`
    has their meaning, and what takes their place where a provider tells no ids.

    Args:
        formatter: Makes the rest of the row.

    Returns:
        A formatter. It raises :class:`~cot_distill.errors.ConfigError` for a sample without log-probabilities, or
        with those of a part only.

    Example:
        >>> from cot_distill import Distiller, formatters, Sampling
        >>> distiller = Distiller("vllm:Qwen/QwQ-32B", sampling=Sampling(top_logprobs=20))
        >>> make_row = formatters.topk(formatters.prompt_completion)  # run.to_dataset(formatter=make_row)
    """

    def with_columns(sample: Sample, /) -> Row:
        trace = sample.trace
        said = Completion(reasoning=trace.reasoning, content=trace.answer, logprobs=sample.logprobs)
        found = read_logprobs(said)
        if found is None:
            raise ConfigError(
                f"task {sample.task.id!r} has no log-probabilities: ask with Sampling(top_logprobs=k), of a teacher "
                "that gives them"
            )
        if found.covers != "all":
            raise ConfigError(
                f"task {sample.task.id!r}: the teacher's log-probabilities cover "
                f"{'an unknown part' if found.covers == 'unknown' else f'the {found.covers} only'}, and not the trace"
            )
        return {**formatter(sample), **topk_columns(found)}

    return with_columns
