"""Text as a student's chat template writes it, once it is proven that the template keeps the trace.

What templates do to reasoning, :mod:`cot_distill.chat_rendering` knows. This file knows which layouts there are to
give them.
"""

from __future__ import annotations

from typing import get_args

from cot_distill.chat_rendering import ChatTokenizer, flaw_of, marked, render
from cot_distill.errors import ConfigError
from cot_distill.formatters.layouts import Thinking, check_thinking, conversation
from cot_distill.protocols import Formatter
from cot_distill.types import Row, Sample

__all__ = ["ChatTokenizer", "text"]


def text(tokenizer: ChatTokenizer, *, thinking: Thinking | None = None) -> Formatter:
    """``{"text": ...}``: the conversation as the student's chat template writes it, ready to be tokenised.

    Many templates delete or misplace reasoning without a word, so each kind of conversation is first rendered with
    marks in place of the trace. The text holds what the template writes, including a token at the very beginning
    if it writes one: tell a tokenizer that adds such a token by itself not to (``add_special_tokens=False``).

    Args:
        tokenizer: The student's. Anything with ``apply_chat_template(messages, tokenize=False)``.
        thinking: The layout that the template is given, as for :func:`messages`.

    Returns:
        A formatter. It raises :class:`~cot_distill.errors.ConfigError` if reasoning and answer do not each survive
        exactly once and in place, and says what would keep them.

    Raises:
        ConfigError: No such field, or the tokenizer has no ``apply_chat_template``.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> class Tokenizer:
        ...     def apply_chat_template(self, conversation, *, tokenize=True):
        ...         return "".join(f"[{turn['role']}] {turn['content']}" for turn in conversation)
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> text(Tokenizer())(sample)["text"].startswith("[user] 2 + 2?[assistant] <think>")
        True
    """
    check_thinking(thinking)
    if not callable(getattr(tokenizer, "apply_chat_template", None)):
        raise ConfigError(f"{type(tokenizer).__name__} has no apply_chat_template: pass the student's tokenizer")
    proven: set[tuple[str, ...]] = set()

    def written(sample: Sample, /) -> Row:
        roles = tuple(turn.role for turn in sample.task.prompt())
        if roles not in proven:
            _prove(tokenizer, sample, thinking)
            proven.add(roles)
        rendered = render(tokenizer, conversation(sample, thinking))
        for part, content in (("reasoning", sample.trace.reasoning), ("answer", sample.trace.answer)):
            if content.strip() not in rendered:
                raise ConfigError(f"task {sample.task.id!r}: {_TEMPLATE} changes the {part}. {_OTHERWISE}")
        return {"text": rendered}

    return written


_TEMPLATE = "the tokenizer's chat template"
_OTHERWISE = (
    "Use formatters.messages or formatters.alpaca with a trainer whose own training template keeps the reasoning "
    "(TRL: `chat_template_path` or `assistant_only_loss=True`), or give the tokenizer another `chat_template`."
)


def _prove(tokenizer: ChatTokenizer, sample: Sample, thinking: Thinking | None) -> None:
    """Raise unless a conversation like this one keeps its trace; find out which layout would."""
    shape = marked(sample)
    flaw = flaw_of(render(tokenizer, conversation(shape, thinking)))
    if flaw is None:
        return
    layouts: tuple[Thinking | None, ...] = (None, *get_args(Thinking))
    others = [way for way in layouts if way != thinking]
    working = [way for way in others if flaw_of(render(tokenizer, conversation(shape, way))) is None]
    advice = _OTHERWISE
    if working:
        option = "" if working[0] is None else f", thinking={working[0]!r}"
        advice = f"Use formatters.text(tokenizer{option}), which it keeps whole."
    raise ConfigError(f"task {sample.task.id!r}: {_TEMPLATE} {flaw.message}. {advice}")
