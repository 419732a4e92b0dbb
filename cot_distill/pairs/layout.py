"""How a prompt and a completion are written down: as messages, or as plain text.

This file knows where the trace goes, so that all completions of a dataset have it in the same place. It knows no
trainer and no chat template.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

from cot_distill.arguments import shown, takes
from cot_distill.errors import ConfigError
from cot_distill.trace import join
from cot_distill.types import Task, Trace

__all__ = ["Layout", "Style", "Text", "Thinking", "layout"]

Style: TypeAlias = Literal["conversational", "plain"] | Callable[[Task], str]
"""``"conversational"``: lists of messages, for the student's chat template. ``"plain"``: text, for tasks that are a
lone question. A function: the prompt as text that it makes of a task, for instance with a chat template that deletes
reasoning; if that text ends with ``<think>``, the completion goes on from there."""

Thinking: TypeAlias = Literal["reasoning_content", "reasoning", "thinking"]
"""Name of a field of its own for the reasoning, beside ``content``; as in :mod:`cot_distill.formatters`."""

Text: TypeAlias = str | list[dict[str, str]]

_OPEN = "<think>"


class Layout(NamedTuple):
    """A style, with its options."""

    style: Style
    thinking: Thinking | None

    def prompt(self, task: Task) -> Text:
        """Write the prompt.

        Args:
            task: The task.

        Returns:
            Messages or text.

        Raises:
            ConfigError: The task does not fit the style.
        """
        turns = task.prompt()
        if self.style == "conversational":
            return [{"role": turn.role, "content": turn.content} for turn in turns]
        if self.style == "plain":
            if len(turns) > 1:
                raise ConfigError(
                    f"task {task.id!r} has {len(turns)} turns, and style='plain' takes a lone question without a "
                    "system prompt: use style='conversational', or a function that makes text of a task"
                )
            return task.instruction
        text = self.style(task)
        if not isinstance(text, str):
            raise ConfigError(f"the function given as `style` returned {type(text).__name__}, not text")
        return text

    def completion(self, prompt: Text, trace: Trace) -> Text:
        """Write the completion.

        Args:
            prompt: What it follows.
            trace: The trace.

        Returns:
            Messages or text, as the prompt.
        """
        if isinstance(prompt, str):
            text = join(trace)
            if prompt.rstrip().endswith(_OPEN):
                text = text.removeprefix(_OPEN)
                text = text.removeprefix("\n") if prompt.endswith("\n") else text
            return text
        if self.thinking is None:
            return [{"role": "assistant", "content": join(trace)}]
        return [{"role": "assistant", "content": trace.answer, self.thinking: trace.reasoning}]


def layout(style: Style, thinking: Thinking | None = None) -> Layout:
    """Make a layout.

    Args:
        style: The style.
        thinking: A field for the reasoning. Default: in the text, as ``<think>…</think>``.

    Returns:
        The layout.

    Raises:
        ConfigError: There is no such style or field, or plain text should have a field.
    """
    is_known = isinstance(style, str) and style in get_args(get_args(Style)[0])
    if not is_known and not (callable(style) and takes(style, 1)):
        raise ConfigError(f"style={shown(style)} is neither 'conversational' nor 'plain', nor a function of a task")
    if thinking is not None and thinking not in get_args(Thinking):
        known = ", ".join(map(repr, get_args(Thinking)))
        raise ConfigError(f"thinking={thinking!r} is no field that chat templates read; use one of {known}")
    if thinking is not None and style != "conversational":
        raise ConfigError("text has no fields: `thinking=…` goes with style='conversational'")
    return Layout(style, thinking)
