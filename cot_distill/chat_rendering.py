"""What a chat template leaves of a trace, found out with marks in its place.

Many templates delete, double or misplace reasoning without a word. This file knows the ways in which they do. It
knows no template by name, and runs none itself: a tokenizer does.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

from cot_distill.errors import ConfigError
from cot_distill.trace import KNOWN_TAGS, join
from cot_distill.types import Message, Sample, Trace

__all__ = [
    "ANSWER",
    "QUESTION",
    "REASONING",
    "ChatTokenizer",
    "Flaw",
    "FlawKind",
    "added_bos",
    "closes_thinking",
    "continuation",
    "flaw_of",
    "marked",
    "opened_tag",
    "render",
]

QUESTION, REASONING, ANSWER = "(mark of the question)", "(mark of the reasoning)", "(mark of the answer)"

FlawKind = Literal[
    "refused",  # the template raises an error, or the layout has no place for the sample
    "dropped",  # question, reasoning or answer is not there
    "repeated",  # one of them is there more than once
    "misplaced",  # in another order, in the wrong channel, or with nothing between reasoning and answer
    "doubled",  # more than one think block
    "changed",  # rewritten: escaped, shortened…
    "closed",  # the generation prompt ends the thinking before it began
    "not_a_prefix",  # a training row does not begin with the prompt that the student will see
    "outside_loss",  # not among the template's {% generation %} blocks
    "endless",  # nothing marks the end of the answer
]


class Flaw(NamedTuple):
    """What is wrong with a conversation as a chat template writes it."""

    kind: FlawKind
    message: str
    """Goes on from "the chat template"."""


class ChatTokenizer(Protocol):
    """What :func:`cot_distill.formatters.text` needs of a tokenizer; those of transformers have it."""

    def apply_chat_template(self, conversation: Any, /, *, tokenize: bool = ...) -> Any:
        """Write a conversation in the model's own chat format.

        Args:
            conversation: The messages: dicts with ``role``, ``content``, and whatever else the template reads.
            tokenize: Called with False only.

        Returns:
            The text.
        """
        ...


def render(tokenizer: ChatTokenizer, conversation: Any, *, generation: bool = False) -> str:
    """Write a conversation in the chat format of a tokenizer.

    Args:
        tokenizer: The tokenizer.
        conversation: The messages.
        generation: End with what opens the student's turn: the generation prompt.

    Returns:
        The text.

    Raises:
        ConfigError: The tokenizer returned something else.
    """
    options = {"add_generation_prompt": True} if generation else {}  # few tokenizers of other makers know the option
    rendered = tokenizer.apply_chat_template(conversation, tokenize=False, **options)
    if not isinstance(rendered, str):
        raise ConfigError(f"apply_chat_template(…, tokenize=False) returned {type(rendered).__name__}, not a string")
    return rendered


def marked(sample: Sample, *, question: bool = True) -> Sample:
    """Put marks in place of the trace, and of the question if wanted.

    Args:
        sample: The sample.
        question: Whether the question gives way too.

    Returns:
        A sample whose conversation has the same shape; all else is as it was.
    """
    update: dict[str, Any] = {"trace": Trace(reasoning=REASONING, answer=ANSWER)}
    if question:
        *earlier, _ = sample.task.prompt()  # the system prompt is among them
        asked = {"messages": (*earlier, Message(role="user", content=QUESTION)), "system": None}
        update["task"] = sample.task.model_copy(update={**asked, "instruction": QUESTION})
    return sample.model_copy(update=update)


def flaw_of(rendered: str) -> Flaw | None:
    """Look for the trace in a conversation that was rendered with marks in place of question, reasoning and answer.

    Args:
        rendered: The text.

    Returns:
        What is wrong; None if nothing is.
    """
    for part, mark in (("question", QUESTION), ("reasoning", REASONING), ("answer", ANSWER)):
        times = rendered.count(mark)
        if times == 0:
            return Flaw("dropped", f"drops the {part}")
        if times > 1:
            return Flaw("repeated", f"writes the {part} {times} times")
    question, reasoning, answer = (rendered.index(mark) for mark in (QUESTION, REASONING, ANSWER))
    if not question < reasoning < answer:
        return Flaw("misplaced", "changes the order of question, reasoning and answer")
    before, between = rendered[question:reasoning], rendered[reasoning + len(REASONING) : answer]
    if "<|channel|>final" in before:  # gpt-oss, given inline tags
        return Flaw("misplaced", "writes the reasoning into the channel of the answer")
    for tags in KNOWN_TAGS.values():
        if tags.close in before or before.count(tags.open) > 1:
            return Flaw("doubled", "writes a second think block before the reasoning")
        if tags.open in between or between.count(tags.close) > 1:
            return Flaw("doubled", "writes a second think block behind the reasoning")
    if not between.strip():
        return Flaw("misplaced", "writes nothing between reasoning and answer, so that nobody can take them apart")
    return None


def opened_tag(prompt: str) -> str | None:
    r"""Tell which think tag a generation prompt has opened already.

    Args:
        prompt: A prompt with the generation prompt at its end.

    Returns:
        The tag at its very end, white space aside; None if there is none.

    Example:
        >>> opened_tag("<｜User｜>2 + 2?<｜Assistant｜><think>\n")
        '<think>'
    """
    return next((tags.open for tags in KNOWN_TAGS.values() if prompt.rstrip().endswith(tags.open)), None)


def closes_thinking(prompt: str) -> bool:
    """Tell whether a generation prompt ends a think block, so that the student is to answer at once.

    Args:
        prompt: A prompt with the generation prompt at its end, and with a mark in place of the question.

    Returns:
        Whether it does.
    """
    opening = prompt.rpartition(QUESTION)[2]
    return any(tags.close in opening for tags in KNOWN_TAGS.values())


def continuation(prompt: str, trace: Trace) -> str:
    r"""Write a trace as it goes on from a prompt, which may have opened the think block.

    Args:
        prompt: The prompt, as text.
        trace: The trace.

    Returns:
        :func:`~cot_distill.trace.join` of the trace, without what the prompt already holds of it.

    Example:
        >>> continuation("<｜Assistant｜><think>\n", Trace(reasoning="2 and 2 make 4.", answer="4"))
        '2 and 2 make 4.\n</think>\n\n4'
    """
    text = join(trace)
    if prompt.rstrip().endswith("<think>"):
        text = text.removeprefix("<think>")
        text = text.removeprefix("\n") if prompt.endswith("\n") else text
    return text


def added_bos(tokenizer: Any) -> str:
    """Tell which token of beginning a tokenizer puts before any text by itself.

    Trainers let it, for rows that are plain text. If the text has the token already, the student sees it twice.

    Args:
        tokenizer: A tokenizer as those of transformers, or anything else.

    Returns:
        The token as text; empty if there is none.
    """
    token, encode = getattr(tokenizer, "bos_token", None), getattr(tokenizer, "encode", None)
    if not isinstance(token, str) or not token or not callable(encode):
        return ""
    alone = list(encode(token, add_special_tokens=False))
    return token if list(encode("", add_special_tokens=True))[: len(alone)] == alone else ""
