"""Directories for fork servers to work in, where they have no file system of their own.

Whoever has made one holds a lock on it, so that those of processes that were killed can be told and removed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["Workplace"]

_PREFIX = "cot_distill-sandbox-"


class Workplace:
    """A new, empty directory.

    Args:
        uid: Who owns it; None: this user.
    """

    def __init__(self, uid: int | None) -> None:
        # Root's must be where another user can reach it.
        above = tempfile.gettempdir() if uid is None else "/tmp"  # noqa: S108
        _sweep(above)
        made = tempfile.mkdtemp(prefix="cot_distill-", dir=above)
        self._lock: int | None = os.open(made, os.O_RDONLY)
        _lock(self._lock)
        self.path = str(Path(above, _PREFIX + made.rpartition("-")[2]))
        Path(made).rename(self.path)  # only now: nobody must find it without a lock
        if uid is not None:
            os.chown(self.path, uid, uid)

    def remove(self) -> None:
        """Remove it and all that is in it."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self.let_go()

    def let_go(self) -> None:
        """Leave it to the process that this one was forked from."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _sweep(above: str) -> None:
    """Remove what processes have left that did not come to remove it."""
    for path in Path(above).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone already
            place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                _lock(place)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(place)


def _lock(place: int) -> None:
    import fcntl  # not on every system

    fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
