"""Calling the kernel where Python has no function for it. Linux only; knows no policy."""

from __future__ import annotations

import ctypes
import functools
import os
import platform

__all__ = ["MACHINES", "check", "machine", "prctl", "syscall"]

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Architectures that there are tables of system calls for, with the number that seccomp knows each by."""


@functools.cache
def machine() -> str:
    """The architecture of this process, one of :data:`MACHINES`.

    Raises:
        OSError: There is no table of system calls for it.
    """
    name = platform.machine()
    if name not in MACHINES or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise OSError(f"no table of system calls for {name}")
    return name


def syscall(number: int, *args: object) -> int:
    """Make a system call.

    Raises:
        OSError: It failed.
    """
    return check(int(_libc().syscall(ctypes.c_long(number), *args)), f"system call {number}")


def prctl(option: int, *args: object) -> int:
    """``prctl(2)``; the arguments that are left out are 0.

    Raises:
        OSError: It failed.
    """
    filled = [*args, *[0] * (4 - len(args))]
    longs = [ctypes.c_ulong(arg) if isinstance(arg, int) else arg for arg in filled]
    return check(int(_libc().prctl(option, *longs)), f"prctl {option}")


def check(result: int, what: str) -> int:
    """Return a result of the C library.

    Raises:
        OSError: It is negative.
    """
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
