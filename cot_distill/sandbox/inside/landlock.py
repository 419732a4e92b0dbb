"""Which files a job may touch: an allow list that the kernel enforces by Landlock, for root and plain users alike.

Landlock says nothing about ``stat``, ``chmod`` and the like: the first shows only that a file exists, the others are
not on the list of system calls.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterable

from .kernel import syscall

__all__ = ["OLDEST", "abi", "enclose", "prepare"]

OLDEST = 3
"""The first version that knows ``truncate``: before it, any file could be emptied. Linux 6.2."""

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _MAKE_BLOCK, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 11, 1 << 13, 1 << 14
_READ = _READ_FILE | _READ_DIR
_OWN = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE


def abi() -> int:
    """The version of Landlock that the kernel has; 0 if it has none."""
    try:
        return syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def prepare(read: Iterable[str], own: Iterable[str]) -> Callable[[], None]:
    """Make rules while the paths can still be reached.

    Args:
        read: Directories and files that may be read. Those that do not exist are passed over.
        own: Directories to read and write in, and devices. No links, pipes or sockets can be made there.

    Returns:
        A function that confines this process and all it starts, for good.

    Raises:
        OSError: The kernel has no Landlock.
    """
    version = abi()
    if version < OLDEST:
        raise OSError(f"the kernel has no Landlock of version {OLDEST} or later (found: {version or 'none'})")
    rules = _create(version, files=(1 << _rights(version)) - 1, ports=0b11, scopes=0b11)
    for paths, allowed in ((read, _READ), (own, _OWN)):
        for path in paths:
            _add(rules, path, allowed)
    return lambda: _enter(rules)


def enclose() -> None:
    """Put this process into a domain of its own, so that it has no power over its siblings.

    Raises:
        OSError: The kernel has no Landlock.
    """
    # Something must be ruled on for a domain to be made. Block devices could not be made anyway.
    _enter(_create(abi(), files=_MAKE_BLOCK, ports=0, scopes=0b11))


def _rights(version: int) -> int:
    return 16 if version >= 5 else 15  # of the 16 rights on files, the last came with version 5


def _create(version: int, *, files: int, ports: int, scopes: int) -> int:
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("=QQQ", files, ports, scopes)[:size]
    return syscall(_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))


def _add(rules: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not os.path.isdir(f"{path}/."):  # noqa: PTH112 - pathlib is not loaded here
            allowed &= _READ_FILE | _WRITE_FILE
        syscall(_ADD, ctypes.c_int(rules), ctypes.c_int(1), struct.pack("=Qi", allowed, place), ctypes.c_uint32(0))
    finally:
        os.close(place)


def _enter(rules: int) -> None:
    try:
        syscall(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)
