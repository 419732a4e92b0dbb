"""Which teacher answered, where one Teacher stands for several: it is told in the ``model`` of the completion.

A wrapper says in its attribute ``teachers`` which ones it asks; they may be wrappers themselves. Whatever stands
for several marks each answer with the name of the one that gave it, as in ``"openai:gpt-5 (gpt-5-2025-08-07)"``. An
answer of a teacher that stands for itself keeps the model as the server named it.
"""

from __future__ import annotations

from collections.abc import Iterator

from cot_distill.protocols import Teacher
from cot_distill.types import Completion

__all__ = ["sources_of", "tell", "told"]


def sources_of(teacher: Teacher) -> tuple[Teacher, ...]:
    """The teachers whose answers it gives, each once by its name: itself, or those that it wraps."""
    return tuple({one.name: one for one in _leaves(teacher)}.values())


def tell(completion: Completion, teacher: Teacher) -> Completion:
    """Mark an answer with the teacher that gave it. One that stands for several has done so already."""
    if len(sources_of(teacher)) > 1:
        return completion
    model = completion.model
    label = teacher.name if not model or model in teacher.name else f"{teacher.name} ({model})"
    return completion.model_copy(update={"model": label})


def told(model: str | None, teacher: Teacher) -> tuple[str, str | None] | None:
    """Read what :func:`tell` wrote.

    Args:
        model: Of the completion.
        teacher: Who was asked.

    Returns:
        The name of the teacher that answered, and the model as its server named it, where that says more; None where
        it was one of several and the answer does not say which.

    Example:
        >>> from cot_distill import open_teacher
        >>> told("QwQ-32B-AWQ", open_teacher("vllm:Qwen/QwQ-32B"))
        ('vllm:Qwen/QwQ-32B', 'QwQ-32B-AWQ')
    """
    if not getattr(teacher, "teachers", ()):  # most stand for themselves
        return teacher.name, model
    names = [one.name for one in sources_of(teacher)]
    if len(names) == 1:
        return names[0], model
    if model is None:
        return None
    for name in sorted(names, key=len, reverse=True):  # one name may begin like another
        if model == name:
            return name, None
        if model.startswith(f"{name} (") and model.endswith(")"):
            return name, model[len(name) + 2 : -1]
    return None


def _leaves(teacher: Teacher) -> Iterator[Teacher]:
    within: tuple[Teacher, ...] = getattr(teacher, "teachers", ())
    if not within:
        yield teacher
    for one in within:
        yield from _leaves(one)
