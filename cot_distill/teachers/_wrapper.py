"""What the teachers that ask other teachers share: entering and leaving these, and having a name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

from cot_distill.errors import ConfigError
from cot_distill.protocols import Teacher

__all__ = ["Wrapper", "check_teachers"]


class Wrapper:
    """Enters its teachers when it is entered, and leaves them in the opposite order, also after a failure.

    It may be entered by several runs at once, if they may.

    Args:
        name: Identity in the recipe.
        teachers: Those that are asked.
    """

    def __init__(self, name: str, *teachers: Teacher) -> None:
        self.name = name
        self.teachers = teachers
        """Those that are asked: :mod:`cot_distill.answered_by` looks here."""
        # Each holds the same: whoever leaves first may take any of them.
        self._entered: list[AsyncExitStack] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__.strip('_').lower()} teacher {self.name!r}>"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._enter(stack)
            self._entered.append(stack.pop_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._entered.pop().__aexit__(kind, error, trace)

    async def _enter(self, stack: AsyncExitStack) -> None:
        for teacher in self.teachers:
            if isinstance(teacher, AbstractAsyncContextManager):
                await stack.enter_async_context(teacher)


def check_teachers(what: str, teachers: tuple[object, ...]) -> None:
    """Refuse what is no teacher, and several with one name: an answer could not tell which of them gave it.

    Raises:
        ConfigError: ``what`` got something else.
    """
    for teacher in teachers:
        if isinstance(teacher, str):
            raise ConfigError(f"{what} takes teachers, not {teacher!r}: write open_teacher({teacher!r})")
        if not isinstance(teacher, Teacher):
            raise ConfigError(f"{what} got {teacher!r}, which is no Teacher: it needs a `name` and `complete`")
    names = [teacher.name for teacher in teachers if isinstance(teacher, Teacher)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{what} got two teachers with the name {twice!r}: give one another name=…")
