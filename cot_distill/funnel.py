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
        self._quiet: set[int] = set()

    def begin(self, items: Iterable[T]) -> Iterator[T]:
        """Count what comes in before the first stage."""
        return self._counted(items)

    def after(self, stage: object, items: Iterable[T], *, quiet: bool = False) -> Iterator[T]:
        """Count what comes out of a stage; of a callable its name is shown. ``quiet``: only if it took something."""
        if quiet:
            self._quiet.add(len(self._names))
        self._names.append(stage if isinstance(stage, str) else name_of(stage))
        return self._counted(items)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages so far, in order. What was never pulled through is not counted."""
        return self._until(len(self._names))

    @property
    def until_none(self) -> tuple[Stage, ...]:
        """Where nothing came out at the end: the stages up to the one that is the reason. Empty: nothing went in."""
        for place in reversed(range(len(self._names))):
            if self._counts[place] or not self._asked[place]:
                return self._until(place + 1)
        return ()

    def _until(self, end: int) -> tuple[Stage, ...]:
        counts = zip(self._names, self._counts, self._counts[1:], strict=False)
        return tuple(
            Stage(name=name, came_in=came, went_out=went)
            for place, (name, came, went) in enumerate(counts)
            if place < end and (came != went or place not in self._quiet)
        )

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
