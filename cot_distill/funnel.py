"""How many samples went into and came out of each stage of an export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from cot_distill.identity import name_of

__all__ = ["Funnel", "Stage"]

T = TypeVar("T")


class Stage(BaseModel):
    """One stage: a filter, or what the library itself leaves out."""

    model_config = ConfigDict(frozen=True)

    name: str
    came_in: int
    went_out: int


class Funnel:
    """Counts what passes between the stages of an export. Nothing is held back, and nothing pulled ahead."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._counts: list[int] = []
        self._asked: list[bool] = []

    def begin(self, items: Iterable[T]) -> Iterator[T]:
        """Count what comes in before the first stage."""
        return self._counted(items)

    def after(self, stage: object, items: Iterable[T]) -> Iterator[T]:
        """Count what comes out of a stage; of a callable its name is shown."""
        self._names.append(stage if isinstance(stage, str) else name_of(stage))
        return self._counted(items)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages so far, in order. What was never pulled through is not counted."""
        counts = zip(self._counts, self._counts[1:], strict=False)
        return tuple(
            Stage(name=name, came_in=came, went_out=went)
            for name, (came, went) in zip(self._names, counts, strict=True)
        )

    @property
    def taker(self) -> int | None:
        """Where nothing came out at the end: the number of the stage that is the reason. None: nothing went in."""
        for place in reversed(range(len(self._names))):
            if self._counts[place] or not self._asked[place]:
                return place
        return None

    def _counted(self, items: Iterable[T]) -> Iterator[T]:
        place = len(self._counts)
        self._counts.append(0)
        self._asked.append(False)

        def counted() -> Iterator[T]:
            self._asked[place] = True
            for item in items:
                self._counts[place] += 1
                yield item

        return counted()
