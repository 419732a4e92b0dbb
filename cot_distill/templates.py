r"""What the teacher is asked: functions from a task to a conversation.

This file knows tasks and messages. It knows no teacher and no chat template: how a provider spells the conversation
is the teacher's business. A template applies to the last turn of a task; earlier turns are kept as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar

from pydantic_core import to_json

from cot_distill.errors import ConfigError
from cot_distill.protocols import Template
from cot_distill.types import Message, Task

__all__ = ["digest", "from_string", "solve", "solve_code", "solve_math", "with_system"]

_REFERENCES = frozenset({"answer", "tests"})
"""Fields of a task that would give the solution away."""

_BRACES = re.compile(
    r"\\[A-Za-z]+\*?(?:\{\w*\})+"  # LaTeX: \boxed{answer}, \frac{a}{b}
    r"|(?<=[A-Za-z0-9)\]}])[\^_]\{\w+\}"  # LaTeX: x^{n}, a_{i}
    r"|\{\{(?P<escaped>[^\W\d]\w*)\}\}"
    r"|\{(?P<field>[^\W\d]\w*)\}"
)


def solve(task: Task, /) -> Sequence[Message]:
    """The task as it is: its own system prompt and turns, and no word more.

    A reasoning teacher thinks by itself, and what it was asked is then exactly what the student will be asked.

    Args:
        task: The task.

    Returns:
        The conversation.

    Example:
        >>> solve(Task(instruction="What is 2 + 2?"))[0].content
        'What is 2 + 2?'
    """
    return task.prompt()


def solve_code(task: Task, /) -> Sequence[Message]:
    """Ask for analysis, alternatives, complexity and edge cases, then for clean code in one fenced block.

    Args:
        task: The task.

    Returns:
        The conversation.

    Example:
        >>> "one fenced code block" in solve_code(Task(instruction="Sort a list."))[0].content
        True
    """
    return _SOLVE_CODE(task)


def solve_math(task: Task, /) -> Sequence[Message]:
    r"""Ask for the final answer in ``\boxed{}``, where :func:`cot_distill.verifiers.exact` looks for it.

    Args:
        task: The task.

    Returns:
        The conversation.

    Example:
        >>> solve_math(Task(instruction="What is 2 + 2?"))[0].content.endswith(r"within \boxed{}.")
        True
    """
    return _SOLVE_MATH(task)


def from_string(text: str, *, system: str | None = None) -> Template:
    r"""Make a template from a text with fields.

    ``{instruction}`` is the task's last turn, ``{system}`` its system prompt (which then is not sent as a turn of
    its own), and ``{any_other_word}`` the metadata of that name. Every other brace is just a brace, so that code and
    LaTeX can be pasted in: ``{"a": 1}``, ``{x:.2f}``, ``\boxed{answer}``, ``x^{n}``. ``{{word}}`` writes ``{word}``.
    What is filled in is not searched for fields again.

    Args:
        text: The last turn. Must hold ``{instruction}``.
        system: A system prompt in place of the task's own; plain text, without fields.

    Returns:
        A template. It raises :class:`~cot_distill.errors.ConfigError` for a task that lacks one of the fields.

    Raises:
        ConfigError: The text never asks the question, or would show the teacher the reference answer.

    Example:
        >>> terse = from_string("{instruction} End with \\boxed{}. Level: {level}")
        >>> terse(Task(instruction="What is 2 + 2?", metadata={"level": 1}))[0].content
        'What is 2 + 2? End with \\boxed{}. Level: 1'
    """
    fields = {match["field"] for match in _BRACES.finditer(text)}
    for name in sorted(_REFERENCES & fields):
        raise ConfigError(
            f"the template shows the teacher the reference: {{{name}}} is no field. "
            f"If you mean the braces themselves, write {{{{{name}}}}}."
        )
    if "instruction" not in fields:
        raise ConfigError("the template never asks the question: put {instruction} where it belongs")
    template = _FromString(text)
    return template if system is None else with_system(template, system)


def with_system(template: Template, system: str) -> Template:
    """The same template with this system prompt, in place of the task's own if there is one.

    It is for the teacher only. A system prompt that the student shall see as well belongs into ``Task.system``.

    Args:
        template: Any template.
        system: The system prompt; plain text, without fields.

    Returns:
        A template.

    Raises:
        ConfigError: The system prompt is blank.

    Example:
        >>> [message.role for message in with_system(solve, "Be brief.")(Task(instruction="What is 2 + 2?"))]
        ['system', 'user']
    """
    if not system.strip():
        raise ConfigError("the system prompt is blank: leave it out instead")
    return _WithSystem(template, system)


def digest(template: Template, probe: Task) -> str:
    """Tell whether a template has changed, whatever it is made of.

    Args:
        template: Any template. If it has an attribute ``digest``, that is believed.
        probe: The task to render. Use the same one always: the digest depends on it.

    Returns:
        Hexadecimal digest of what the teacher would be asked.

    Example:
        >>> probe = Task(instruction="What is 2 + 2?")
        >>> digest(solve, probe) == digest(lambda task: task.prompt(), probe)
        True
        >>> digest(solve, probe) == digest(solve_math, probe)
        False
    """
    own = getattr(template, "digest", None)
    if own is not None:
        return str(own)
    return _hash([(message.role, message.content) for message in template(probe)])


def fixed_digest(template: Template) -> str | None:
    """Tell what a template makes of tasks without rendering any.

    Args:
        template: Any template.

    Returns:
        Hexadecimal digest, the same for templates that ask the same of each task; None where that cannot be known, as
        for a function of the user that has no attribute ``digest``.

    Example:
        >>> fixed_digest(solve) == fixed_digest(solve_math), fixed_digest(lambda task: task.prompt())
        (False, None)
    """
    if template in (solve, solve_code, solve_math):
        return _hash(["ours", template.__name__])  # type: ignore[attr-defined]  # these are functions
    if isinstance(template, _WithSystem):
        inner = fixed_digest(template.template)
        return None if inner is None else _hash(["with_system", template.system, inner])
    own = getattr(template, "digest", None)
    return None if own is None else _hash(["own", str(own)])


def _hash(value: object) -> str:
    return blake2b(to_json(value), digest_size=16).hexdigest()


@dataclass(frozen=True)
class _FromString:
    text: str
    __name__: ClassVar[str] = "from_string"

    @property
    def digest(self) -> str:
        """Of the text itself: the probe need not have the metadata that the fields ask for."""
        return _hash(["from_string", self.text])

    def __call__(self, task: Task, /) -> Sequence[Message]:
        *earlier, question = task.prompt()
        system = next((turn.content for turn in earlier if turn.role == "system"), None)
        fields = {**task.metadata, "instruction": question.content, "system": system}
        used: set[str] = set()

        def fill(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "{" + match["escaped"] + "}"
            name = match["field"]
            if not name:
                return match[0]
            if fields.get(name) is None:
                where = "a system prompt" if name == "system" else f"{name!r} in its metadata"
                raise ConfigError(
                    f"task {task.id!r} lacks {where}, which the template asks for as {{{name}}}. "
                    f"If you mean the braces themselves, write {{{{{name}}}}}."
                )
            used.add(name)
            return str(fields[name])

        content = _BRACES.sub(fill, self.text)
        if "system" in used:
            earlier = [turn for turn in earlier if turn.role != "system"]
        return (*earlier, Message(role="user", content=content))


@dataclass(frozen=True)
class _WithSystem:
    template: Template
    system: str
    __name__: ClassVar[str] = "with_system"

    @property
    def digest(self) -> str:
        """Of both parts, if the inner template has one too; else there is none, and the rendering decides."""
        inner: str = self.template.digest  # type: ignore[attr-defined]  # AttributeError is the answer "none"
        return _hash(["with_system", self.system, inner])

    def __call__(self, task: Task, /) -> Sequence[Message]:
        turns = self.template(task)
        own = 1 if turns and turns[0].role == "system" else 0
        return (Message(role="system", content=self.system), *turns[own:])


_SOLVE_CODE = from_string(
    "{instruction}\n\n"
    "Before you write the final code, analyse the problem and its constraints, weigh alternative approaches, work "
    "out the time and space complexity of the one you choose, and check it against the edge cases. Then give the "
    "final solution as clean, complete code in one fenced code block, and no other code block."
)
_SOLVE_MATH = from_string(
    "{instruction}\n\nReason step by step, and put the final answer, and nothing else, within \\boxed{}."
)
