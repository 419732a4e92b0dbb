"""Prompt and completion as text, parted where the student takes over: the layout that every chat template can have.

This file knows what to write where a template has no place for reasoning. Whether it has one,
:mod:`cot_distill.chat_parts` finds out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

from cot_distill.chat_parts import Reading, parts_reader
from cot_distill.chat_rendering import (
    ANSWER,
    QUESTION,
    ChatTokenizer,
    added_bos,
    closes_thinking,
    continuation,
    marked,
    opened_tag,
    render,
)
from cot_distill.errors import ConfigError
from cot_distill.formatters.layouts import Thinking, conversation, messages
from cot_distill.protocols import Formatter
from cot_distill.types import Row, Sample

__all__ = ["rendered"]


def rendered(tokenizer: ChatTokenizer) -> Formatter:
    r"""``{"prompt": "…", "completion": "…"}``: text in the student's chat format, parted where the student goes on.

    The prompt is what the student will be asked with, generation prompt included. If that opens the think block, the
    completion goes on behind the tag. The completion is what the chat template makes of the sample, in whatever
    layout it keeps the reasoning; if there is none, as with the template of DeepSeek-R1-Distill, it is
    :func:`~cot_distill.trace.join` of the trace and what the template writes at the end of an answer.

    A token at the very beginning, which the tokenizer adds to any text by itself, is left out: trainers let it do so.

    Args:
        tokenizer: The student's. Anything with ``apply_chat_template(messages, tokenize=False,
            add_generation_prompt=…)``.

    Returns:
        A formatter. It raises :class:`~cot_distill.errors.ConfigError` if the template drops the question or the
        answer, or asks the student not to think.

    Raises:
        ConfigError: The tokenizer has no ``apply_chat_template``.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> class Tokenizer:
        ...     def apply_chat_template(self, conversation, *, tokenize=True, add_generation_prompt=False):
        ...         turns = (f"[{turn['role']}] {turn['content'].split('</think>')[-1]} [end]"
        ...                  for turn in conversation)
        ...         return "".join(turns) + ("[assistant] <think>\n" if add_generation_prompt else "")
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> row = rendered(Tokenizer())(sample)
        >>> row["prompt"], row["completion"]
        ('[user] 2 + 2? [end][assistant] <think>\n', '2 and 2 make 4.\n</think>\n\n4 [end]')
    """
    layouts: tuple[Thinking | None, ...] = (None, *get_args(Thinking))
    readers = [parts_reader(tokenizer, partial(messages, thinking=way)) for way in layouts]
    chosen: dict[tuple[str, ...], Callable[[Sample], Reading] | str] = {}
    bos = added_bos(tokenizer)

    def written(sample: Sample, /) -> Row:
        roles = tuple(turn.role for turn in sample.task.prompt())
        if roles not in chosen:
            shape = marked(sample)
            working = (read for read in readers if read(shape).parts is not None)
            chosen[roles] = next(working, None) or _end(tokenizer, shape)
        way = chosen[roles]
        if isinstance(way, str):
            prompt = render(tokenizer, conversation(sample, None)[:-1], generation=True)
            return {"prompt": prompt.removeprefix(bos), "completion": continuation(prompt, sample.trace) + way}
        parts, flaws, *_ = way(sample)
        if parts is None:
            raise ConfigError(f"task {sample.task.id!r}: the tokenizer's chat template {flaws[0].message}")
        return {"prompt": parts.prompt.removeprefix(bos), "completion": parts.think + parts.answer + parts.end}

    return written


def _end(tokenizer: ChatTokenizer, shape: Sample) -> str:
    """What ends an answer; raises where nothing can be put together around a trace."""
    prompt = render(tokenizer, conversation(shape, None)[:-1], generation=True)
    text = render(tokenizer, conversation(shape, None))
    problem = None
    if prompt.count(QUESTION) != 1:
        problem = f"writes the question {prompt.count(QUESTION)} times"
    elif text.count(ANSWER) != 1:
        problem = f"writes the answer {text.count(ANSWER)} times"
    elif closes_thinking(prompt):
        problem = "ends the thinking in the generation prompt: it asks for answers without any"
    elif opened_tag(prompt) not in (None, "<think>"):
        problem = f"opens {opened_tag(prompt)} for the student, and keeps no reasoning to show how that goes on"
    if problem is not None:
        raise ConfigError(f"the tokenizer's chat template {problem}. Give the tokenizer another `chat_template`")
    return text.partition(ANSWER)[2].rstrip()
