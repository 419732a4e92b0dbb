"""What the verifiers of quality have in common: they look for a flaw in a text, and say what it is and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.types import Task, Trace, Verdict

Part = Literal["reasoning", "answer", "both"]
"""Of a trace."""

_QUOTED = 80


class Flaw(NamedTuple):
    """Something that should not be there."""

    what: str
    """In words, with the passage."""
    at: int
    """Index of its first character."""


@dataclass(frozen=True)
class Flawless:
    """A verifier that is content with a text in which ``find`` finds nothing.

    Args:
        name: Under which its verdicts are booked.
        part: Where to look.
        find: Finds the first flaw, given the task, the name of the part, and its text. Can be pickled, and shows its
            settings as attributes.
        light: Whether it takes so little time that it can be called on the event loop.
    """

    name: str
    part: Part
    find: Callable[[Task, str, str], Flaw | None]
    light: bool = False

    @property
    def __name__(self) -> str:
        """For the journal."""
        return self.name

    @property
    def digest(self) -> str:
        """Of all settings, also those that lie too deep for whoever looks from outside."""
        return repr((self.name, self.part, identity_of(self.find)))

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        for part, text in texts(trace, self.part):
            if (flaw := self.find(task, part, text)) is not None:
                reason = f"{flaw.what} ({where(part, flaw.at)})"
                return Verdict(by=self.name, passed=False, about="quality", reason=reason)
        return Verdict(by=self.name, passed=True, about="quality")


def texts(trace: Trace, part: Part) -> list[tuple[str, str]]:
    """The texts to look at, with the name of each."""
    both = [("reasoning", trace.reasoning), ("answer", trace.answer)]
    return [(name, text) for name, text in both if part in (name, "both")]


def where(part: str, index: int) -> str:
    """Say where something stands; characters are counted from 0, as in Python."""
    return f"{part}, at character {index:,}"


def quote(passage: str) -> str:
    """A passage, shortened, with everything escaped that is no plain letter or sign."""
    return repr(passage if len(passage) <= _QUOTED else passage[: _QUOTED - 1] + "…")


def check_part(part: str) -> None:
    """Refuse what is no part of a trace.

    Raises:
        ConfigError: It is something else.
    """
    if part not in get_args(Part):
        raise ConfigError(f"part={part!r} is none of 'reasoning', 'answer', 'both'")
