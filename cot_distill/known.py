"""What earlier sessions left of each attempt, for finding what is still to do.

It must be held while tasks come in, so it is held in a few bytes. For each attempt there is a word of eight bytes in
an :class:`~cot_distill.address_book.AddressBook`: the number of the record with its answer, and a code that says
which verifiers judged it last, whether all of them passed, whether it was opened again, and whether its task was
corrected.
All else (what was asked, what the task looked like, where an answer was cut) is in the index on disk, 72 bytes that
are read when the attempt's task comes by. That holds for finished and unfinished attempts alike, so that neither
other verifiers nor a corrected input nor a thousand failures more make it larger:

* attempts: 8 bytes each;
* those whose task was corrected: 8 bytes more, for the record with the correction;
* where verifiers cost something, those that were judged: 8 bytes more, for the record with the verdicts.

Verifiers are coded by their place in a list of all marks that there are: one for each set of verifiers, and each
twice, for passed and not. Nothing is approximate: see the address book.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from cot_distill.address_book import AddressBook
from cot_distill.folding import MANY, Folded, fold
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import KINDS, known_fields, place_at
from cot_distill.records import Known

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KnownAttempts"]

_REOPENED, _CORRECTED, _FLAGS = 1, 2, 2  # bits of a code; the rest says which verdict
_CODE_BITS = 8
_REOPENED_KIND = KINDS.index("reopened")
_ANSWERED = frozenset(map(KINDS.index, ("completion", "cut")))


class KnownAttempts:
    """Looks attempts up by :func:`~cot_distill.records.address`.

    Args:
        index: The records; None for nothing.
        said: Find the records of verdicts as well.
        many: From how many records on numpy is used.
    """

    def __init__(self, index: IndexFile | None = None, *, said: bool = False, many: int = MANY) -> None:
        self._changed: dict[bytes, Known] = {}
        self.answered = False
        """Whether there is an answer of the teacher."""
        self.marks: tuple[int, ...] = ()
        """The marks of all verdicts that count, and 0."""
        self._index = index
        if index is None:
            return
        bits = _CODE_BITS
        while not self._build(index, bits, said=said, many=many):
            bits = _FLAGS + len(self.marks).bit_length()  # again, with room for all of them

    def __len__(self) -> int:
        return 0 if self._index is None else len(self._answers)

    def get(self, place: bytes) -> Known | None:
        """What is known of the attempt with this address, or None."""
        if place in self._changed:
            return self._changed[place]
        found = None if self._index is None else self._answers.find(place)
        if found is None:
            return None
        number, code, entry = found
        kind, prompt, content, mark = known_fields(entry)
        if code & _CORRECTED:
            correction = self._corrected.find(place)
            assert correction is not None  # noqa: S101 - both books were written together
            content = known_fields(correction[2])[2]
        judged = None if self._judged is None else self._judged.find(place)
        return Known(
            number,
            "reopened" if code & _REOPENED else kind,
            prompt,
            content,
            mark,
            self.marks[code >> _FLAGS],
            -1 if judged is None else judged[0],
        )

    def states(self, of: Callable[[int], int]) -> NDArray[np.uint8]:
        """For each record a number below 256, with numpy for all at once.

        That is ``of`` the mark of its verdict, 0 where there is none, for the answer that counts to an attempt that
        was not opened again and whose task was not corrected since; and 0 for all other records.
        """
        import numpy as np

        states = np.zeros(0 if self._index is None else len(self._index), np.uint8)
        if self._index is None or self._changed:  # what was opened again in this session is not in the codes
            return states
        table = np.zeros(len(self.marks) << _FLAGS, np.uint8)
        table[:: 1 << _FLAGS] = [of(mark) for mark in self.marks]
        for numbers, codes in self._answers.columns():
            states[numbers] = table[codes]
        return states

    def completions(self) -> Iterator[tuple[bytes, Known]]:
        """Addresses of the attempts that have an answer that was not cut, in the order in which these came."""
        if self._index is None:
            return
        for number in self._index.numbers("completion"):
            place = place_at(self._index.packed(number))
            known = self.get(place)
            if known is not None and known.number == number and known.kind == "completion":
                yield place, known

    def reopen(self, places: Iterable[bytes]) -> None:
        """Have these attempts asked again in this session. Each takes a few hundred bytes."""
        for place in places:
            known = self.get(place)
            if known is not None:
                self._changed[place] = known._replace(kind="reopened")

    def _build(self, index: IndexFile, bits: int, *, said: bool, many: int) -> bool:
        """Fill the books; False where there are more marks than codes of so many bits can tell apart."""
        self._answers = AddressBook(index, bits)
        self._corrected = AddressBook(index)
        self._judged = AddressBook(index) if said else None
        verdicts = {0: 0}  # a code for each mark
        none = len(index)
        for part in fold(index, view=False, many=many):
            self.answered = self.answered or not _ANSWERED.isdisjoint(part.kinds)
            self._answers.add(zip(part.spots, part.answers, _codes(part, verdicts, none), strict=True))
            self._corrected.add(_there(part.spots, part.tasks, none))
            if self._judged is not None:
                self._judged.add(_there(part.spots, part.verdicts, none))
        self.marks = tuple(verdicts)
        for book in (self._answers, self._corrected, self._judged):
            if book is not None:
                book.seal()
        return len(verdicts) <= 1 << (bits - _FLAGS)


def _codes(part: Folded, verdicts: dict[int, int], none: int) -> Iterator[int]:
    """The code of each attempt. A mark that comes for the first time is entered in ``verdicts``."""
    for mark in sorted(set(part.marks)):
        verdicts.setdefault(mark, len(verdicts))
    shifted = {mark: verdict << _FLAGS for mark, verdict in verdicts.items()}
    codes = map(shifted.__getitem__, part.marks)
    if part.tasks.count(none) == len(part.tasks) and _REOPENED_KIND not in part.kinds:
        return codes  # nearly always; at millions of attempts that saves a second
    flags = zip(part.tasks, part.kinds, strict=True)
    return (
        code | (task != none) * _CORRECTED | (kind == _REOPENED_KIND) * _REOPENED
        for code, (task, kind) in zip(codes, flags, strict=True)
    )


def _there(spots: array[int], numbers: array[int], none: int) -> Iterable[tuple[int, int, int]]:
    """The attempts that have such a record, with its number and no code."""
    if numbers.count(none) == len(numbers):
        return ()
    return ((spot, number, 0) for spot, number in zip(spots, numbers, strict=True) if number != none)
