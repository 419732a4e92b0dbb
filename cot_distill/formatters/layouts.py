"""The layouts that trainers read, and where in them the trace goes.

This file knows no trainer, no chat template and no file format.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args, overload

from cot_distill.errors import ConfigError
from cot_distill.protocols import Formatter
from cot_distill.trace import join
from cot_distill.types import Message, Row, Sample

__all__ = ["Thinking", "alpaca", "check_thinking", "conversation", "messages", "prompt_completion", "sharegpt"]

Thinking = Literal["reasoning_content", "reasoning", "thinking"]
"""Name of a field of its own for the reasoning, beside ``content``. Trainers and chat templates disagree on it;
``reasoning_content`` is understood most widely."""


@overload
def messages(sample: Sample, /, *, thinking: Thinking | None = None) -> Row: ...
@overload
def messages(*, thinking: Thinking | None = None) -> Formatter: ...
def messages(sample: Sample | None = None, /, *, thinking: Thinking | None = None) -> Row | Formatter:
    r"""``{"messages": [...]}``: the conversation with the trace as its last turn.

    Use it as it is, or call it with options to get a formatter that has them.

    Args:
        sample: The sample to format.
        thinking: Field of the last turn that takes the reasoning, ``content`` then being the answer alone. Default:
            reasoning and answer together in ``content``, as ``<think>\n…\n</think>\n\n…``.

    Returns:
        The row; without a sample, a formatter.

    Raises:
        ConfigError: No such field.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> messages(sample)["messages"][-1]
        {'role': 'assistant', 'content': '<think>\n2 and 2 make 4.\n</think>\n\n4'}
        >>> in_a_field = messages(thinking="reasoning_content")
        >>> in_a_field(sample)["messages"][-1]
        {'role': 'assistant', 'content': '4', 'reasoning_content': '2 and 2 make 4.'}
    """
    check_thinking(thinking)
    if sample is None:
        return partial(_messages, thinking=thinking)
    return _messages(sample, thinking=thinking)


@overload
def prompt_completion(sample: Sample, /, *, thinking: Thinking | None = None, plain: bool = False) -> Row: ...
@overload
def prompt_completion(*, thinking: Thinking | None = None, plain: bool = False) -> Formatter: ...
def prompt_completion(
    sample: Sample | None = None, /, *, thinking: Thinking | None = None, plain: bool = False
) -> Row | Formatter:
    r"""``{"prompt": [...], "completion": [...]}``: the question and the trace apart, so that loss falls on the trace.

    Use it as it is, or call it with options to get a formatter that has them.

    Args:
        sample: The sample to format.
        thinking: As for :func:`messages`.
        plain: Two strings in place of two lists of messages, for students without a chat format.

    Returns:
        The row; without a sample, a formatter.

    Raises:
        ConfigError: No such field, or ``plain`` and more than one lone question.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> prompt_completion(plain=True)(sample)
        {'prompt': '2 + 2?', 'completion': '<think>\n2 and 2 make 4.\n</think>\n\n4'}
    """
    check_thinking(thinking)
    if plain and thinking is not None:
        raise ConfigError("plain strings have no fields: give `plain=True` or `thinking=…`, not both")
    if sample is None:
        return partial(_prompt_completion, thinking=thinking, plain=plain)
    return _prompt_completion(sample, thinking=thinking, plain=plain)


@overload
def alpaca(sample: Sample, /, *, system: bool = False) -> Row: ...
@overload
def alpaca(*, system: bool = False) -> Formatter: ...
def alpaca(sample: Sample | None = None, /, *, system: bool = False) -> Row | Formatter:
    r"""``id``, ``instruction``, ``input`` (always empty) and ``output``: the classic layout.

    Use it as it is, or call it with options to get a formatter that has them.

    Args:
        sample: The sample to format. It must be a single question.
        system: Add a fifth key ``system``, empty where the task has no system prompt. By default there are four
            keys and the system prompt is left out.

    Returns:
        The row; without a sample, a formatter.

    Raises:
        ConfigError: The task is a conversation of more than one turn.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> alpaca(Sample(task=Task(id=7, instruction="2 + 2?"), trace=trace))
        {'id': 7, 'instruction': '2 + 2?', 'input': '', 'output': '<think>\n2 and 2 make 4.\n</think>\n\n4'}
    """
    return partial(_alpaca, system=system) if sample is None else _alpaca(sample, system=system)


def sharegpt(sample: Sample, /) -> Row:
    """``{"conversations": [{"from": ..., "value": ...}]}``, with the speakers ``system``, ``human`` and ``gpt``.

    Args:
        sample: The sample to format.

    Returns:
        The row.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> sharegpt(Sample(task=Task(instruction="2 + 2?"), trace=trace))["conversations"][0]
        {'from': 'human', 'value': '2 + 2?'}
    """
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    turns = (*sample.task.prompt(), Message(role="assistant", content=join(sample.trace)))
    return {"conversations": [{"from": speakers[turn.role], "value": turn.content} for turn in turns]}


def _messages(sample: Sample, /, *, thinking: Thinking | None) -> Row:
    return {"messages": conversation(sample, thinking)}


def _prompt_completion(sample: Sample, /, *, thinking: Thinking | None, plain: bool) -> Row:
    if not plain:
        *prompt, completion = conversation(sample, thinking)
        return {"prompt": prompt, "completion": [completion]}
    turns = sample.task.prompt()
    if len(turns) > 1:
        raise ConfigError(
            f"task {sample.task.id!r} has {len(turns)} turns, and a plain prompt takes a lone question without a "
            "system prompt: use formatters.prompt_completion without `plain`"
        )
    return {"prompt": turns[0].content, "completion": join(sample.trace)}


def _alpaca(sample: Sample, /, *, system: bool) -> Row:
    turns = sample.task.prompt()
    systems = [turn.content for turn in turns if turn.role == "system"]
    if len(turns) - len(systems) != 1:
        raise ConfigError(
            f"task {sample.task.id!r} is a conversation of {len(turns) - len(systems)} turns, and the Alpaca layout "
            "has place for one: use formatters.sharegpt or formatters.messages"
        )
    output = join(sample.trace)
    row = {"id": sample.task.id, "instruction": sample.task.instruction, "input": "", "output": output}
    return {**row, "system": "\n\n".join(systems)} if system else row


def conversation(sample: Sample, thinking: Thinking | None) -> list[dict[str, str]]:
    """Lay out a sample as the messages that chat templates are given.

    Args:
        sample: The sample.
        thinking: As for :func:`messages`.

    Returns:
        All turns, the trace as the last of them.
    """
    turns = [{"role": turn.role, "content": turn.content} for turn in sample.task.prompt()]
    trace = sample.trace
    if thinking is None:
        return [*turns, {"role": "assistant", "content": join(trace)}]
    return [*turns, {"role": "assistant", "content": trace.answer, thinking: trace.reasoning}]


def check_thinking(thinking: Thinking | None) -> None:
    """Refuse what is no field for the reasoning.

    Args:
        thinking: As for :func:`messages`.

    Raises:
        ConfigError: No such field.
    """
    if thinking is not None and thinking not in get_args(Thinking):
        known = ", ".join(map(repr, get_args(Thinking)))
        raise ConfigError(f"thinking={thinking!r} is no field that chat templates read; use one of {known}")
