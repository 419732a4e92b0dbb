"""Whether a session has the same input as an earlier one, byte by byte, asked with the same template.

Then each place of the input has the task that it had, and what was booked for a place is about that task. The same
holds for a file of JSON Lines that has grown since, for the places that there were.

What is marked is what is in the files when a session starts. They are read for hours after that, so it is looked
every second whether they were touched. What was booked since the last look is then not under the mark, nor is what
follows.
"""

from __future__ import annotations

from typing import NamedTuple

import anyio
import anyio.to_thread

from cot_distill._version import __version__
from cot_distill.ledger import Ledger
from cot_distill.protocols import Template
from cot_distill.records import digest_of
from cot_distill.sources import FileState, TaskInput, as_source
from cot_distill.templates import fixed_digest

__all__ = ["MarkedInput"]

_EARLIER = 8
"""Shorter states of a file that it is compared with: each is read once more."""


class _Mark(NamedTuple):
    digest: str
    """Stays the same as long as each place has the same task, which is asked the same."""
    size: int | None
    """Bytes of a file that may grow; None for other inputs."""


class MarkedInput:
    """The input of a session, and its mark where it can have one. Made before any file is opened.

    Args:
        tasks: The input.
        template: Asks its tasks.

    Raises:
        SourceError: There is nothing to read at a path.
    """

    def __init__(self, tasks: TaskInput, template: Template) -> None:
        source = as_source(tasks)
        self.tasks: TaskInput = tasks if source is None else source
        """What to read the tasks from."""
        self._source, self._asked = source, fixed_digest(template)
        self._state = None if source is None else source.state()
        self._mark: _Mark | None = None
        self._ledger: Ledger | None = None
        self._until = 0

    def mark(self) -> None:
        """Read the files. Takes a second a gigabyte: called in a thread.

        Raises:
            SourceError: A file cannot be read.
        """
        found = self._marked(None)
        # Where a file was touched meanwhile, what is being read need not be what was marked.
        self._mark = found if self._now() == self._state else None

    def records(self, ledger: Ledger) -> list[range]:
        """The numbers of the records of all sessions with this input, or with the beginning that it had earlier.

        Raises:
            SourceError: A file cannot be read.
        """
        mark = self._mark
        if mark is None:
            return []
        digests = {mark.digest}
        if mark.size is not None:
            earlier = {_Mark(digest, size) for digest, size in ledger.inputs() if size is not None}
            shorter = sorted((one.size, one) for one in earlier if one.size is not None and one.size < mark.size)
            digests.update(one.digest for size, one in shorter[-_EARLIER:] if self._marked(size) == one)
        return ledger.records_of(digests)

    def begin(self, ledger: Ledger) -> None:
        """Book the mark. What follows is about this input."""
        if self._mark is not None:
            ledger.note("input", digest=self._mark.digest, size=self._mark.size)
            self._ledger, self._until = ledger, ledger.next

    def look(self) -> None:
        """Look at the files, and book it where they were touched."""
        if self._ledger is not None:
            self._compare(self._ledger, self._ledger.next, self._now())

    async def look_aside(self) -> None:
        """The same, with the looking done in a thread: the files may be far away."""
        if self._ledger is not None:
            so_far = self._ledger.next
            self._compare(self._ledger, so_far, await anyio.to_thread.run_sync(self._now))

    def _compare(self, ledger: Ledger, so_far: int, state: FileState | None) -> None:
        if state != self._state:
            ledger.note("input", digest=None, size=None, until=self._until)
            self._ledger = None  # once is enough
        self._until = so_far

    def _now(self) -> FileState | None:
        return None if self._source is None else self._source.state()

    def _marked(self, size: int | None) -> _Mark | None:
        """The mark, as if the input had ended after so many bytes; None where it cannot have one."""
        if self._source is None or self._asked is None:
            return None
        found = self._source.fingerprint(size)
        if found is None:
            return None
        return _Mark(digest_of(f"{found} {self._asked} {__version__}"), size or self._source.size())
