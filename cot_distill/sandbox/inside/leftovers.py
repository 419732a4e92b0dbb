"""The files of a job: noticing that there are too many, and removing them whatever their shape."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

__all__ = ["empty", "is_too_much"]

_MOST_FILES = 1000
_MOST_BYTES = 64 << 20


def is_too_much(directory: str) -> bool:
    """Whether there are more than 1,000 files below a directory, or more than 64 MB."""
    count, size, left = 0, 0, [directory]
    while left:
        path = left.pop()
        with suppress(OSError):  # not ours: the directory itself may be root's
            os.chmod(path, 0o700)  # noqa: PTH101 - what cannot be listed can still be filled
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    count += 1
                    with suppress(OSError):  # gone by now
                        size += entry.stat(follow_symlinks=False).st_size
                    if count > _MOST_FILES or size > _MOST_BYTES:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # so deep that it could hide anything
                return True
    return False


def empty(directory: str) -> None:
    """Remove all that is in a directory.

    What is deep down is first moved up: so depth costs neither recursion nor long paths.
    """
    number = time.monotonic_ns()  # so that no name that the job chose is met
    while names := os.listdir(directory):  # noqa: PTH208 - pathlib is not loaded here
        for name in names:
            path = f"{directory}/{name}"
            if not _is_directory(path):
                os.unlink(path)  # noqa: PTH108
                continue
            os.chmod(path, 0o700)  # noqa: PTH101
            for inner in os.listdir(path):  # noqa: PTH208
                if _is_directory(f"{path}/{inner}"):
                    os.chmod(f"{path}/{inner}", 0o700)  # noqa: PTH101 - a directory that moves is written to
                number += 1
                os.rename(f"{path}/{inner}", f"{directory}/.{number}.moved")  # noqa: PTH104
            os.rmdir(path)  # noqa: PTH106


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)  # noqa: PTH112, PTH114
