"""Giving others a turn, in loops that may go on for long without waiting for anything."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from anyio.lowlevel import checkpoint

__all__ = ["Turns"]


class Turns:
    """Lets the event loop run others now and then, where it has not done so by itself.

    A checkpoint costs as much as a task that is looked at, and where a lock is held it makes others line up for it.
    So the clock is asked first, then whether the loop went round since the last time, and only then it is left to.

    Args:
        seconds: How long others may have to wait.

    Example:
        ::

            turns = Turns(0.005)
            for row in rows:
                if time.monotonic() >= turns.due:
                    await turns.give()
                look_at(row)
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._went_round = False
        self.due = 0.0
        """When to call :meth:`give` next, as ``time.monotonic`` tells it."""

    async def give(self) -> None:
        """Give others a turn if they had none since the last call. Cancellation is raised here."""
        if not self._went_round:
            await checkpoint()
        self._went_round = False
        with suppress(RuntimeError):  # trio does not tell
            asyncio.get_running_loop().call_soon(self._note)
        self.due = time.monotonic() + self._seconds

    def _note(self) -> None:
        self._went_round = True
