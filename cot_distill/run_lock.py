"""One writer a run: the lock of a run directory.

It knows files and processes, not what is written. The lock goes with its process, however that ends, and a forked
child does not keep it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from pathlib import Path

from cot_distill.errors import RunError

__all__ = ["is_locked", "is_ours", "release", "take"]

_HELD: set[int] = set()
"""Descriptors of the locks that this process holds."""

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


def take(path: Path) -> int:
    """Lock a directory.

    Returns:
        A descriptor for :func:`release`.

    Raises:
        RunError: Another process, or another journal of this one, holds it; or locks do not exist there.
        OSError: The directory cannot be written.
    """
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    owner = path / "lock.owner"
    try:
        _lock_soon(descriptor)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _TAKEN:
            raise RunError(
                f"{path}: this file system cannot lock files ({error.strerror}): use a local disk"
            ) from error
        who = "another process"
        with contextlib.suppress(OSError):  # it may be leaving just now
            who = owner.read_text(encoding="utf-8").strip() or who
        raise RunError(
            f"{path} is in use by {who}: a run has one writer. Wait for it, end it or take another path"
        ) from None
    _HELD.add(descriptor)
    with contextlib.suppress(OSError):  # a courtesy to whoever is refused
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    return descriptor


def is_ours(descriptor: int) -> bool:
    """Whether this process holds the lock, and did not just inherit it."""
    return descriptor in _HELD


def release(descriptor: int) -> None:
    """Give a lock back; does nothing if it is not held."""
    if descriptor in _HELD:
        _HELD.remove(descriptor)
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process is writing to the run in this directory."""
    try:
        descriptor = os.open(path / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        _lock(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_soon(descriptor: int) -> None:
    """Lock at once or within half a second: :func:`is_locked` of another process may hold it for a moment."""
    for _ in range(10):
        try:
            return _lock(descriptor)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        time.sleep(0.05)
    return _lock(descriptor)


def _let_go_in_child() -> None:
    """A forked child inherits the lock, and would keep it after its parent is gone."""
    for descriptor in list(_HELD):
        release(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
