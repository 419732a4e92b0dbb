"""Giving up power, in two steps: the fork server as it starts, each process of a job as it is born.

Knows the order in which it must be done. What is given up is decided by the other side, in :class:`Settings`.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from . import landlock, seccomp
from .kernel import prctl

__all__ = ["FIRST_KEPT", "Settings", "confine_job", "confine_server"]

_FILE_SIZE = 1 << 20
_OPEN_FILES = 64
_MORE_THREADS = 256
_IS_LINUX: bool = sys.platform == "linux"
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_NO_NEW_PRIVS = 1, 4, 38
FIRST_KEPT = 200
"""Descriptors of directories that stay open for good are moved here, out of the way of those of a job."""


class Settings(NamedTuple):
    """How a fork server is confined. Crosses as JSON."""

    landlock: bool
    seccomp: bool
    uid: int | None
    """Become this user, and the group of the same number."""
    read: list[str]
    """What may be read."""
    own: str
    """The directory to work in. Emptied after each job."""
    paths: list[str]
    """Where programs may import from, beside the standard library."""
    parent: int
    """The process that started the server, if it is visible from here; else 0."""
    alone: bool
    """Whether the user has no other processes here, so that they can be counted."""


def confine_server(settings: Settings) -> Callable[[], None]:
    """Confine the fork server itself.

    Returns:
        A function that confines a forked process further, to be called in it: see :func:`confine_job`.

    Raises:
        OSError: Something is missing here; the message says what.
    """
    with suppress(OSError):
        os.nice(19)  # whatever asks the teacher goes first
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if not (settings.landlock or settings.seccomp):
        return _no_rules
    prctl(_SET_NO_NEW_PRIVS, 1)
    threads = _MORE_THREADS if settings.alone else _threads_of_user() + 4 * _MORE_THREADS
    enter = _no_rules
    if settings.landlock:
        enter = landlock.prepare([*settings.read, "/dev/urandom", "/dev/zero"], [settings.own, "/dev/null"])
    if settings.uid is not None:
        _become(settings.uid)
    if settings.parent:  # after the change of user, which undoes it
        prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != settings.parent:
            raise OSError("the process that started the sandbox is gone")
    prctl(_SET_DUMPABLE, 0)
    enter()
    install = seccomp.prepare()

    def finish() -> None:
        _limit(resource.RLIMIT_NPROC, threads)
        if settings.landlock:
            landlock.enclose()
        install()

    return finish


def confine_job(finish: Callable[[], None], *, seconds: float, memory: int, server: int) -> None:
    """Confine a process that was just forked.

    Args:
        finish: What :func:`confine_server` gave.
        seconds: Wall-clock time that the job has; a second more of processor time is the last resort.
        memory: Of the address space, in bytes.
        server: The process that forked this one.

    Raises:
        OSError: Something is missing here.
    """
    cpu = int(seconds) + 2
    for limit, value in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, _FILE_SIZE),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory),
    ):
        _limit(limit, value)
    if _IS_LINUX:
        prctl(_SET_DUMPABLE, 0)
        prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
    finish()


def _no_rules() -> None:
    """Confine nothing."""


def _limit(kind: int, value: int) -> None:
    allowed = resource.getrlimit(kind)[1]  # what the administrator allows may be less
    hard = value + (kind == resource.RLIMIT_CPU)  # SIGXCPU comes first, which says what happened; then SIGKILL
    if allowed != resource.RLIM_INFINITY:
        hard = min(hard, allowed)
    try:
        resource.setrlimit(kind, (min(value, hard), hard))
    except (OSError, ValueError):
        if _IS_LINUX:  # macOS refuses some
            raise


def _become(uid: int) -> None:
    """Change to a user that owns nothing, and keep the way to the standard library."""
    held = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in sys.path if os.path.isdir(path)}  # noqa: PTH112
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.umask(0o077)
    moved: dict[str, str] = {}
    for number, (path, place) in enumerate(held.items(), start=FIRST_KEPT):
        # An interpreter under /root is out of reach by its name. By an open directory it is not.
        if not os.access(path, os.R_OK | os.X_OK):
            os.dup2(place, number)
            moved[path] = f"/proc/self/fd/{number}"
            if not os.access(moved[path], os.R_OK | os.X_OK):
                raise OSError(f"{path} cannot be read by other users")
        os.close(place)
    sys.path[:] = [moved.get(path, path) for path in sys.path]
    for module in list(sys.modules.values()):
        places: Any = getattr(module, "__path__", None)  # of a package: where its modules are
        for path, new in moved.items() if isinstance(places, list) else ():
            places[:] = [place.replace(path, new, 1) if place.startswith(f"{path}/") else place for place in places]


def _threads_of_user() -> int:
    """How many threads this user runs by now: the limit counts them all."""
    count, names = 0, list[str]()
    with suppress(OSError):
        names = os.listdir("/proc")  # noqa: PTH208 - pathlib is not loaded here
    for name in names:
        with suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():  # noqa: PTH116
                count += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
    return count
