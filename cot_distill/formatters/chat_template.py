"""Text as a student's chat template writes it, once it is proven that the template keeps the trace.

This file knows what templates do to reasoning: drop it, write it twice, misplace it. It knows no template by name,
and runs none itself: a tokenizer does.
"""

from __future__ import annotations

from typing import Any, Protocol, get_args

from cot_distill.errors import ConfigError
from cot_distill.formatters.layouts import Thinking, check_thinking, conversation
from cot_distill.protocols import Formatter
from cot_distill.types import Message, Row, Sample, Task, Trace

__all__ = ["ChatTokenizer", "text"]


class ChatTokenizer(Protocol):
    """What :func:`text` needs of a tokenizer; those of transformers have it."""

    def apply_chat_template(self, conversation: Any, /, *, tokenize: bool = ...) -> Any:
        """Write a conversation in the model's own chat format.

        Args:
            conversation: The messages: dicts with ``role``, ``content``, and whatever else the template reads.
            tokenize: Called with False only.

        Returns:
            The text.
        """
        ...


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

    def render(sample: Sample, /) -> Row:
        roles = tuple(turn.role for turn in sample.task.prompt())
        if roles not in proven:
            _prove(tokenizer, sample, thinking)
            proven.add(roles)
        rendered = _render(tokenizer, sample, thinking)
        for part, content in (("reasoning", sample.trace.reasoning), ("answer", sample.trace.answer)):
            if content.strip() not in rendered:
                raise ConfigError(f"task {sample.task.id!r}: {_TEMPLATE} changes the {part}. {_OTHERWISE}")
        return {"text": rendered}

    return render


_TEMPLATE = "the tokenizer's chat template"
_OTHERWISE = (
    "Use formatters.messages or formatters.alpaca with a trainer whose own training template keeps the reasoning "
    "(TRL: `chat_template_path` or `assistant_only_loss=True`), or give the tokenizer another `chat_template`."
)
_QUESTION, _REASONING, _ANSWER = "(mark of the question)", "(mark of the reasoning)", "(mark of the answer)"


def _prove(tokenizer: ChatTokenizer, sample: Sample, thinking: Thinking | None) -> None:
    """Raise unless a conversation like this one keeps its trace; find out which layout would."""
    *earlier, _ = sample.task.prompt()
    marked = Sample(
        task=Task(messages=(*earlier, Message(role="user", content=_QUESTION))),
        trace=Trace(reasoning=_REASONING, answer=_ANSWER),
    )
    problem = _problem(_render(tokenizer, marked, thinking))
    if problem is None:
        return
    layouts: tuple[Thinking | None, ...] = (None, *get_args(Thinking))
    working = [way for way in layouts if way != thinking and _problem(_render(tokenizer, marked, way)) is None]
    advice = _OTHERWISE
    if working:
        option = "" if working[0] is None else f", thinking={working[0]!r}"
        advice = f"Use formatters.text(tokenizer{option}), which it keeps whole."
    raise ConfigError(f"task {sample.task.id!r}: {_TEMPLATE} {problem}. {advice}")


def _problem(rendered: str) -> str | None:
    """What is wrong with a conversation that was rendered with marks in place of question, reasoning and answer."""
    for part, mark in (("question", _QUESTION), ("reasoning", _REASONING), ("answer", _ANSWER)):
        times = rendered.count(mark)
        if times != 1:
            return f"drops the {part}" if times == 0 else f"writes the {part} {times} times"
    question, reasoning, answer = (rendered.index(mark) for mark in (_QUESTION, _REASONING, _ANSWER))
    if not question < reasoning < answer:
        return "changes the order of question, reasoning and answer"
    before = rendered[question:reasoning]
    if "</think>" in before or before.count("<think>") > 1:
        return "writes a second think block before the reasoning"
    if "<|channel|>final" in before:  # gpt-oss, given inline tags
        return "writes the reasoning into the channel of the answer"
    return None


def _render(tokenizer: ChatTokenizer, sample: Sample, thinking: Thinking | None) -> str:
    rendered = tokenizer.apply_chat_template(conversation(sample, thinking), tokenize=False)
    if not isinstance(rendered, str):
        raise ConfigError(f"apply_chat_template(…, tokenize=False) returned {type(rendered).__name__}, not a string")
    return rendered
