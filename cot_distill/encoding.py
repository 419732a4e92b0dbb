"""From a sample to what a trainer takes: token ids, labels, and which tokens are prompt, thinking, answer and end.

This file knows tokens. It asks a tokenizer for nothing but the ids of a text, so that it needs no offsets, and works
with tokenizers that have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol

from cot_distill import formatters
from cot_distill.chat_parts import Parts, parts_reader
from cot_distill.errors import ConfigError
from cot_distill.protocols import Formatter
from cot_distill.template_advice import way_out
from cot_distill.types import Sample

__all__ = ["IGNORED", "Encoded", "Spans", "StudentTokenizer", "encode", "encode_parts"]

IGNORED = -100
"""The label of tokens without loss, as in PyTorch and transformers."""


class StudentTokenizer(Protocol):
    """What :func:`encode` needs of a tokenizer; those of transformers have it."""

    def apply_chat_template(
        self, conversation: Any, /, *, tokenize: bool = ..., add_generation_prompt: bool = ...
    ) -> Any:
        """Write a conversation in the model's own chat format.

        Args:
            conversation: The messages.
            tokenize: Called with False only.
            add_generation_prompt: End with what opens the student's turn.

        Returns:
            The text.
        """
        ...

    def encode(self, text: str, /, *, add_special_tokens: bool = ...) -> Sequence[int]:
        """Turn a text into tokens.

        Args:
            text: Any text.
            add_special_tokens: Whether to put tokens around it that are not in the text.

        Returns:
            Their ids.
        """
        ...


class Spans(NamedTuple):
    """Which tokens belong to which part. One begins where the last ends, so ``ids[spans.answer]`` are its ids."""

    prompt: slice
    """What the student is given, with the generation prompt: a ``<think>`` that it opens is here."""
    think: slice
    """The reasoning, with the tags around it and the line breaks up to the answer."""
    answer: slice
    eos: slice
    """What ends the answer; empty where the template writes nothing."""


@dataclass(frozen=True)
class Encoded:
    """A sample as tokens.

    Attributes:
        ids: The ids of prompt and completion: what the chat template writes, to the last line break.
        labels: As many: the id where the student has to say it, else -100. Not shifted, as transformers wants them.
        spans: Which tokens are which part. What comes behind ``eos`` belongs to none and has no loss.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    spans: Spans


def encode(tokenizer: StudentTokenizer, sample: Sample, *, formatter: Formatter = formatters.messages) -> Encoded:
    r"""Turn a sample into token ids, labels and spans, or refuse if the chat template loses the trace.

    The loss falls on thinking, answer and end; it begins behind what the generation prompt already holds. Each span
    decodes to exactly its part of the text. The ids are those of the whole text, except where one token would reach
    from one part into the next (byte-level BPE makes one token of a full stop and a line break, say): there the text
    is cut, and both sides are tokenised apart. At the end of the prompt this is also what happens when the student
    is asked, since a prompt is tokenised by itself.

    Args:
        tokenizer: The student's.
        sample: The sample.
        formatter: Makes the row that a trainer would get: any of :mod:`cot_distill.formatters`.

    Returns:
        Ids, labels and spans.

    Raises:
        ConfigError: The trace does not come through whole; the message names the formatter that works.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> class Characters:  # a tokenizer with a token for each character
        ...     def apply_chat_template(self, conversation, *, tokenize=True, add_generation_prompt=False):
        ...         turns = (f"[{turn['role']}] {turn['content']}[end]" for turn in conversation)
        ...         return "".join(turns) + ("[assistant] " if add_generation_prompt else "")
        ...
        ...     def encode(self, text, *, add_special_tokens=True):
        ...         return [ord(character) for character in text]
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> encoded = encode(Characters(), sample)
        >>> "".join(map(chr, encoded.ids[encoded.spans.answer]))
        '4'
        >>> "".join(chr(label) for label in encoded.labels if label != -100)
        '<think>\n2 and 2 make 4.\n</think>\n\n4[end]'
    """
    parts, flaws, *_ = parts_reader(tokenizer, formatter)(sample)
    if parts is None:
        advice = way_out(tokenizer, [sample], formatter)
        raise ConfigError(f"task {sample.task.id!r}: the chat template {flaws[0].message}. {advice}")
    return encode_parts(tokenizer, parts)


def encode_parts(tokenizer: StudentTokenizer, parts: Parts) -> Encoded:
    """Turn the parts of a training text into ids, labels and spans.

    Args:
        tokenizer: The student's.
        parts: The parts.

    Returns:
        Ids, labels and spans.
    """
    pieces = _tokens_of(tokenizer, parts)
    ids = tuple(token for piece in pieces for token in piece)
    ends = [0, *accumulate(map(len, pieces[:4]))]
    spans = Spans(*(slice(start, stop) for start, stop in pairwise(ends)))
    first, last = spans.think.start, spans.eos.stop
    labels = (IGNORED,) * first + ids[first:last] + (IGNORED,) * (len(ids) - last)
    return Encoded(ids, labels, spans)


def _tokens_of(tokenizer: StudentTokenizer, parts: Sequence[str]) -> list[list[int]]:
    """The ids of each part: those of the whole text, as far as no token reaches from one part into the next."""
    pieces: list[list[int]] = []
    ids = _ids(tokenizer, "".join(parts))
    for number, part in enumerate(parts):
        remaining = "".join(parts[number + 1 :])
        if not remaining:
            pieces.append(ids)
            ids = []
            continue
        ways = (_apart, _ids) if number else (_ids,)
        alone = next((found for way in ways if _begins(ids, found := way(tokenizer, part))), None)
        if alone is None:
            alone = ways[0](tokenizer, part)
            ids = _apart(tokenizer, remaining)
        else:  # these tokens are this part and nothing else
            ids = ids[len(alone) :]
        pieces.append(alone)
    return pieces


def _begins(ids: list[int], part: list[int]) -> bool:
    return ids[: len(part)] == part


def _apart(tokenizer: StudentTokenizer, text: str) -> list[int]:
    """The ids of a text that is not the beginning of anything.

    Tokenizers of the SentencePiece kind put a space before any text. So another character goes before it, whose
    tokens are taken away again; one that the text does not merge with.
    """
    if not text:
        return []
    for before in ("\n", "a", "."):
        known, ids = _ids(tokenizer, before), _ids(tokenizer, before + text)
        if _begins(ids, known):
            return ids[len(known) :]
    return _ids(tokenizer, text)


def _ids(tokenizer: StudentTokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
