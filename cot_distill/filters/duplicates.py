"""Dropping what is there already: the same text, or nearly the same.

What has been seen is remembered as digests and signatures, never as text.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Literal, get_args

from cot_distill.errors import ConfigError
from cot_distill.filters._dropping import Decisions, Dropping, OnDrop
from cot_distill.filters._text import check_part, digest, folded, grams, text_of, words
from cot_distill.protocols import Filter
from cot_distill.types import Sample

__all__ = ["DedupBy", "dedup"]

DedupBy = Literal["reasoning", "answer", "both", "instruction"]
"""What makes two samples duplicates."""

_SHINGLE = 5  # words

_Find = Callable[[str], tuple[int, float] | None]
"""Looks a text up; remembers it, if it is new. Returns the number of the first such text, and how similar it is."""


def dedup(*, by: DedupBy = "reasoning", near: float | None = None, on_drop: OnDrop | None = None) -> Filter:
    """Keep the first of all samples that say the same.

    Duplicates are looked for across all tasks. Without ``near`` two texts are the same if they differ in white space
    only. With it, if they are similar: of all the runs of five words that stand in either of them (lower case, no
    punctuation), at least that share stands in both. A text is compared with the ones that were kept, so the result
    depends on nothing but the order (and, with ``near``, the version of rensa).

    Args:
        by: What is compared: ``"reasoning"``, ``"answer"`` or ``"both"`` together; or ``"instruction"``, the
            question without the system prompt, which drops later *tasks* with all their attempts, and never an
            attempt because of another one. ``"answer"`` is meant for long ones such as programs: short ones are the
            same for many tasks.
        near: The least similarity, above 0 and up to 1, such as 0.8. It is estimated, with a standard error of
            about 0.035, so a pair that is within a few hundredths of it may fall on either side. Numbers are words
            like others: two long questions that differ in one number are near duplicates. Needs the extra ``dedup``.
        on_drop: Is told of each sample that is dropped, and why; the reason names the first one.

    Returns:
        A filter. It remembers about 250 bytes of each sample that is kept, with ``near=0.8`` about 600 (of each
        task, with ``by="instruction"``).

    Raises:
        ConfigError: There is nothing like ``by``, or ``near`` is no share.
        MissingExtraError: rensa is not installed.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> samples = [Sample(task=Task(id=n, instruction="2 + 2?"), trace=trace) for n in (7, 8)]
        >>> len(list(dedup(on_drop=lambda _, reason: print(reason))(samples)))
        the same reasoning as task 7, attempt 0
        1
    """
    check_part(by, "dedup(by=…)", get_args(DedupBy))
    if near is None:
        make_find = _exact
    elif isinstance(near, int | float) and 0 < near <= 1:
        make_find = _near(near)
    else:
        raise ConfigError(f"dedup(near=…) is a share above 0 and up to 1, such as 0.8, not {near!r}")
    what = "reasoning and answer" if by == "both" else by

    def same(similarity: float) -> str:
        return "the same" if near is None else f"nearly the same ({similarity:.2f})"

    def decide(samples: Iterator[Sample]) -> Decisions:
        find = make_find()
        seen = _Names(with_attempt=by != "instruction")
        task_id: int | str | None = None
        reason = None
        for sample in samples:
            if by != "instruction" or sample.task.id != task_id:
                task_id = sample.task.id
                found = find(text_of(sample, by))
                reason = None
                if found is None:
                    seen.add(sample)
                elif by != "instruction" or seen.ids[found[0]] != task_id:  # else it is the same task, come back
                    reason = f"{same(found[1])} {what} as {seen[found[0]]}"
            yield sample, reason

    name = f"dedup({by})" if near is None else f"dedup({by}, near={near})"
    return Dropping(name, decide, on_drop)


class _Names:
    """What the samples that were kept are called, by number."""

    def __init__(self, *, with_attempt: bool) -> None:
        self.ids: list[int | str] = []
        self._attempts = array("I")
        self._with_attempt = with_attempt

    def add(self, sample: Sample) -> None:
        same = self.ids and self.ids[-1] == sample.task.id
        self.ids.append(self.ids[-1] if same else sample.task.id)  # one object for all attempts of a task
        self._attempts.append(sample.attempt)

    def __getitem__(self, row: int) -> str:
        attempt = f", attempt {self._attempts[row]}" if self._with_attempt else ""
        return f"task {self.ids[row]!r}{attempt}"


def _exact() -> _Find:
    rows: dict[int, int] = {}

    def find(text: str) -> tuple[int, float] | None:
        new = len(rows)
        row = rows.setdefault(digest(folded(text)), new)
        return None if row == new else (row, 1.0)

    return find


def _near(near: float) -> Callable[[], _Find]:
    from cot_distill.filters._near import NearIndex  # here, since it loads numpy

    NearIndex(near)  # now rather than at the first sample, so that a missing extra shows at once

    def make() -> _Find:
        index = NearIndex(near)

        def find(text: str) -> tuple[int, float] | None:
            found = words(text)
            # A text of nothing but signs has no words: it is only like itself.
            signature = index.signature(grams(found, _SHINGLE) if found else [str(digest(folded(text)))])
            similar = index.find(signature)
            if similar is None:
                index.add(signature)
            return similar

        return find

    return make
