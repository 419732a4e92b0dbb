"""Values that live in the program and that tests hold in their hands: what either side changes, both see.

As in ``root.children.append(node)``, or ``items = stack.items``, where a copy would not do. Both ends hold a copy of
their own, under the same number, and tell each other what changed with the next message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .wire import Reader, Writer, change

__all__ = ["Shared"]

_MOST = 200
_LARGEST = 1 << 14


class Shared:
    """One end's copies.

    Args:
        foreign: As of a :class:`.wire.Writer`.
        handle: As of a :class:`.wire.Reader`.
    """

    def __init__(self, foreign: Callable[[Any], Any], handle: Callable[[str, Any], Any]) -> None:
        self._foreign = foreign
        self._handle = handle
        self._content: list[str] = []
        self.values: list[Any] = []
        """By number."""

    def add(self, values: list[Any]) -> int:
        """Share more values, as far as there are not too many and they are not too large; return how many."""
        ids = {id(value) for value in self.values}
        new = [value for value in values if id(value) not in ids][: _MOST - len(self.values)]
        before = len(self.values)
        self.values += new
        written = [self._written(value) for value in new]
        if len(new) < len(values) or sum(map(len, written)) > _LARGEST:
            del self.values[before:]
            return 0
        self._content += written
        return len(new)

    def updates(self) -> list[Any]:
        """What changed here since the last message, as JSON.

        Raises:
            UncrossableError: There is something in it now that cannot cross.
        """
        if not self.values:
            return []
        now = [self._written(value) for value in self.values]
        writer = Writer(self._foreign, self.values)
        numbers = [number for number, content in enumerate(now) if content != self._content[number]]
        self._content = now
        return [[number, writer.content(self.values[number])] for number in numbers]

    def update(self, updates: Any) -> None:
        """Take over what changed at the other end.

        Raises:
            Exception: Of many kinds, where this is no JSON of updates.
        """
        if not updates:
            return
        reader = Reader(self._handle, self.values)
        for value, new in [(self.values[number], reader.content(content)) for number, content in updates]:
            change(value, new)
        for number, _ in updates:  # and no other: what changed here in the meantime is still to be told
            self._content[number] = self._written(self.values[number])

    def _written(self, value: Any) -> str:
        return json.dumps(Writer(self._foreign, self.values).content(value), check_circular=False)
