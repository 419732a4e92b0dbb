"""Where in the text that a trainer sees the parts of a sample are: prompt, thinking, answer, end.

A trainer turns a row into text, for rows of messages with the student's chat template. The row is rendered a second
time with marks in place of the trace, and what stands between the marks must be found again around the real one: so
the parts are known to the character, whatever the texts hold. This file knows rows and templates; it knows no tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, NamedTuple

from cot_distill.chat_rendering import (
    ANSWER,
    REASONING,
    ChatTokenizer,
    Flaw,
    added_bos,
    closes_thinking,
    flaw_of,
    marked,
    opened_tag,
    render,
)
from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.jinja_template import JinjaTemplate
from cot_distill.protocols import Formatter
from cot_distill.types import Row, Sample, Trace

__all__ = ["Parts", "Reading", "parts_reader"]


class Parts(NamedTuple):
    """A training text in five pieces, which joined are the whole text."""

    prompt: str
    """What the student is given, the generation prompt included: a ``<think>`` that it opens is here."""
    think: str
    """The reasoning with the tags around it and the white space up to the answer."""
    answer: str
    end: str
    """What ends the answer, such as ``<|im_end|>``; empty if the template writes nothing."""
    rest: str
    """White space after the end, which no student has to write."""


class Reading(NamedTuple):
    """What was found in the training text of one sample."""

    parts: Parts | None
    """None where the trace is not there as it should be."""
    flaws: tuple[Flaw, ...]
    trained: str
    """The part of the text that the loss of a trainer falls on: all that the prompt does not begin with."""
    opened: str | None
    """The think tag that the generation prompt opens."""


class _Written(NamedTuple):
    given: str
    """The prompt of the row."""
    asked: str
    """The prompt that the student will see when it is asked."""
    text: str
    """Prompt and completion, as the trainer sees them."""
    conversation: list[dict[str, Any]] | None
    """What the chat template was given, where a trainer has only its marks to tell the student's words by."""

    @property
    def fits(self) -> bool:
        """Whether the student is trained on the prompt that it will be asked with."""
        return self.given == self.asked and self.text.startswith(self.asked)


def parts_reader(tokenizer: ChatTokenizer, formatter: Formatter) -> Callable[[Sample], Reading]:
    """Make a function that finds the parts of samples.

    Args:
        tokenizer: Whose chat template is to be used.
        formatter: Makes the row.

    Returns:
        The function. Whatever a template or a formatter raises is a flaw that it finds, of the kind ``refused``.

    Raises:
        ConfigError: The tokenizer has no ``apply_chat_template``.
    """
    if not callable(getattr(tokenizer, "apply_chat_template", None)):
        raise ConfigError(f"{type(tokenizer).__name__} has no apply_chat_template: pass the student's tokenizer")
    shapes: dict[tuple[str, ...], tuple[Flaw, ...]] = {}

    def read(sample: Sample) -> Reading:
        roles = tuple(turn.role for turn in sample.task.prompt())
        try:
            if roles not in shapes:
                shapes[roles] = _flaws_of_shape(tokenizer, marked(sample), formatter)
            return _read(tokenizer, sample, formatter, shapes[roles])
        except MissingExtraError:
            raise
        except Exception as error:  # whatever a foreign template raises
            return Reading(None, (Flaw("refused", f"gives an error, or the formatter does: {error}"),), "", None)

    return read


def _flaws_of_shape(tokenizer: ChatTokenizer, shape: Sample, formatter: Formatter) -> tuple[Flaw, ...]:
    """What is wrong with every conversation of this shape."""
    written = _written(tokenizer, shape, formatter)
    found = [] if (flaw := flaw_of(written.text)) is None else [flaw]
    if closes_thinking(written.asked):
        found.append(Flaw("closed", "ends the thinking in the generation prompt: it asks for answers without any"))
    elif not written.fits:
        found.append(Flaw("not_a_prefix", _OTHER_PROMPT))
    if not found:
        if not written.text.partition(ANSWER)[2].strip():
            found.append(Flaw("endless", "writes nothing behind the answer: the student never learns to stop"))
        generated = _generated(tokenizer, written)
        if generated is not None and not (REASONING in generated and ANSWER in generated):
            found.append(Flaw("outside_loss", "leaves the trace out of its {% generation %} blocks"))
    return tuple(found)


_OTHER_PROMPT = "writes a prompt for the student that the training text does not begin with"
_FATAL = {"dropped", "repeated", "misplaced", "doubled", "closed", "not_a_prefix"}


def _read(tokenizer: ChatTokenizer, sample: Sample, formatter: Formatter, known: tuple[Flaw, ...]) -> Reading:
    written = _written(tokenizer, sample, formatter)
    prompt, text = written.asked, written.text
    opened = opened_tag(prompt)
    trained = text[_common(written.given, text) :]
    if any(flaw.kind in _FATAL for flaw in known):
        return Reading(None, known, trained, opened)
    if not written.fits:
        return Reading(None, (*known, Flaw("not_a_prefix", _OTHER_PROMPT)), trained, opened)
    frame = _written(tokenizer, marked(sample, question=False), formatter).text
    before, _, behind = frame.partition(REASONING)
    between, _, suffix = behind.partition(ANSWER)
    for reasoning, answer in product(*map(_trimmed, (sample.trace.reasoning, sample.trace.answer))):
        if before + reasoning + between + answer + suffix == text:
            start = len(before) + len(reasoning) + len(between)
            end = suffix.rstrip()
            parts = Parts(prompt, text[len(prompt) : start], answer, end, suffix[len(end) :])
            return Reading(parts, known, trained, opened)
    return Reading(None, (*known, _changed(sample.trace, text)), trained, opened)


def _common(one: str, other: str) -> int:
    """The length of what both begin with."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _trimmed(part: str) -> tuple[str, ...]:
    """A part of a trace, as templates may write it: many drop white space at one end or both."""
    return part, part.rstrip(), part.lstrip(), part.strip()


def _changed(trace: Trace, text: str) -> Flaw:
    gone = [name for name in ("reasoning", "answer") if getattr(trace, name).strip() not in text]
    return Flaw("changed", f"changes the {' and the '.join(gone or ['text around the trace'])}")


def _written(tokenizer: ChatTokenizer, sample: Sample, formatter: Formatter) -> _Written:
    """What a trainer makes of a sample: the prompt as the student will see it, and the whole text."""
    row = formatter(sample)
    turns = _conversation(row)
    if turns is not None:
        prompt = render(tokenizer, turns[:-1], generation=True)
        return _Written(prompt, prompt, render(tokenizer, turns), None if "prompt" in row else turns)
    question = [{"role": turn.role, "content": turn.content} for turn in sample.task.prompt()]
    prompt = render(tokenizer, question, generation=True)
    if isinstance(row.get("text"), str):
        given, text = prompt, str(row["text"])
    elif isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        given, text = row["prompt"], row["prompt"] + row["completion"]
    else:
        raise ConfigError(
            f"a row with the columns {', '.join(row) or '(none)'} has neither `messages`, `conversations` nor "
            "`text`, nor `prompt` and `completion` or `instruction` and `output`: a trainer makes nothing of it"
        )
    bos = added_bos(tokenizer)
    if bos and prompt.startswith(bos) and not text.startswith(bos):  # the trainer lets the tokenizer add it
        text = bos + text
        given = given if given == prompt else bos + given
    return _Written(given, prompt, text, None)


def _conversation(row: Row) -> list[dict[str, Any]] | None:
    """The messages that a trainer hands to the chat template; None for rows of text."""
    if "messages" in row:
        return list(row["messages"])
    if "conversations" in row:
        roles = {"system": "system", "human": "user", "gpt": "assistant"}
        return [{"role": roles[turn["from"]], "content": turn["value"]} for turn in row["conversations"]]
    if "instruction" in row and "output" in row:
        question = "\n".join(filter(None, (row["instruction"], row.get("input"))))
        turns = (("system", row.get("system")), ("user", question), ("assistant", row["output"]))
        return [{"role": role, "content": content} for role, content in turns if content]
    if isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        return [*row["prompt"], *row["completion"]]
    return None


def _generated(tokenizer: ChatTokenizer, written: _Written) -> str | None:
    """What the template marks as the student's words; None where it marks nothing, or where that cannot be told."""
    if written.conversation is None:
        return None
    if isinstance(tokenizer, JinjaTemplate):
        return tokenizer.generated(written.conversation)
    text, tokens = getattr(tokenizer, "chat_template", None), getattr(tokenizer, "special_tokens_map", {})
    if not isinstance(text, str) or not isinstance(tokens, Mapping):
        return None
    try:
        template = JinjaTemplate(text, **{name: str(token) for name, token in tokens.items()})
        # A tokenizer may do more than to render its template.
        is_same = render(template, written.conversation) == written.text
        return template.generated(written.conversation) if is_same else None
    except ConfigError:  # also where there is no Jinja
        return None
