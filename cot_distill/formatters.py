"""How a sample becomes a row of a dataset: one function per layout that trainers read.

This file knows the layouts, and where in them the trace goes. It knows no trainer and no file format. Every row
asks the bare task (``task.prompt()``), never the teacher's template: that is what the student will be asked.

A formatter takes every sample it is given, except where the layout has no place for a conversation. Leave out the
samples that would break a student's chat format with :func:`cot_distill.filters.clean`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, Protocol, get_args, overload

from cot_distill.errors import ConfigError
from cot_distill.protocols import Formatter
from cot_distill.trace import join
from cot_distill.types import Message, Row, Sample, Task, Trace

__all__ = ["ChatTokenizer", "Thinking", "alpaca", "messages", "prompt_completion", "sharegpt", "text"]

Thinking = Literal["reasoning_content", "reasoning", "thinking"]
"""Name of a field of its own for the reasoning, beside ``content``. Trainers and chat templates disagree on it;
``reasoning_content`` is understood most widely."""


class ChatTokenizer(Protocol):
    """What :func:`text` needs of a tokenizer; those of transformers have it."""

    def apply_chat_template(self, conversation: Any, /, *, tokenize: bool = ...) -> Any:
        """Write a conversation in the model's own chat format."""
        ...


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
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> messages(sample)["messages"][-1]
        {'role': 'assistant', 'content': '<think>\n2 and 2 make 4.\n</think>\n\n4'}
        >>> in_a_field = messages(thinking="reasoning_content")
        >>> in_a_field(sample)["messages"][-1]
        {'role': 'assistant', 'content': '4', 'reasoning_content': '2 and 2 make 4.'}
    """
    _check(thinking)
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
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> prompt_completion(plain=True)(sample)
        {'prompt': '2 + 2?', 'completion': '<think>\n2 and 2 make 4.\n</think>\n\n4'}
    """
    _check(thinking)
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
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> alpaca(Sample(task=Task(id=7, instruction="2 + 2?"), trace=trace))
        {'id': 7, 'instruction': '2 + 2?', 'input': '', 'output': '<think>\n2 and 2 make 4.\n</think>\n\n4'}
    """
    return partial(_alpaca, system=system) if sample is None else _alpaca(sample, system=system)


def sharegpt(sample: Sample, /) -> Row:
    """``{"conversations": [{"from": ..., "value": ...}]}``, with the speakers ``system``, ``human`` and ``gpt``.

    Example:
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> sharegpt(Sample(task=Task(instruction="2 + 2?"), trace=trace))["conversations"][0]
        {'from': 'human', 'value': '2 + 2?'}
    """
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    turns = (*sample.task.prompt(), Message(role="assistant", content=join(sample.trace)))
    return {"conversations": [{"from": speakers[turn.role], "value": turn.content} for turn in turns]}


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
    _check(thinking)
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
    rendered = tokenizer.apply_chat_template(_conversation(sample, thinking), tokenize=False)
    if not isinstance(rendered, str):
        raise ConfigError(f"apply_chat_template(…, tokenize=False) returned {type(rendered).__name__}, not a string")
    return rendered


def _messages(sample: Sample, /, *, thinking: Thinking | None) -> Row:
    return {"messages": _conversation(sample, thinking)}


def _prompt_completion(sample: Sample, /, *, thinking: Thinking | None, plain: bool) -> Row:
    if not plain:
        *prompt, completion = _conversation(sample, thinking)
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


def _conversation(sample: Sample, thinking: Thinking | None) -> list[dict[str, str]]:
    turns = [{"role": turn.role, "content": turn.content} for turn in sample.task.prompt()]
    trace = sample.trace
    if thinking is None:
        return [*turns, {"role": "assistant", "content": join(trace)}]
    return [*turns, {"role": "assistant", "content": trace.answer, thinking: trace.reasoning}]


def _check(thinking: Thinking | None) -> None:
    if thinking is not None and thinking not in get_args(Thinking):
        known = ", ".join(map(repr, get_args(Thinking)))
        raise ConfigError(f"thinking={thinking!r} is no field that chat templates read; use one of {known}")
