"""The fork server: waits for jobs, forks the processes of each, and sees to their end.

It never reads a program, its tests, or what comes of them: these pass by it through descriptors that only the
processes concerned hold. So no job finds anything of an earlier one in the memory that it inherits.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from .confine import FIRST_KEPT, Settings, confine_job, confine_server
from .jobs import FILES, FINISHED, JOB, LONGEST, READY, REPLY, STOPPED, TIMEOUT
from .leftovers import empty, is_too_much
from .program import answer_tests, run_script
from .tests import HUNG_UP, judge
from .warming import warm_up

__all__ = ["main"]

_TICK = 0.05
_LAST_MOMENT = 0.1
_NO_STATUS = -1
_PRELOAD = """
    abc array ast base64 bisect calendar cmath collections.abc contextlib copy csv dataclasses datetime decimal enum
    fractions functools hashlib heapq inspect io itertools json keyword math numbers operator pprint queue random re
    statistics string struct textwrap threading time traceback types typing unicodedata uuid weakref zlib
"""


class _Processes(NamedTuple):
    program: int
    tests: int | None

    def all(self) -> list[int]:
        return [self.program] if self.tests is None else [self.program, self.tests]


def main() -> None:
    """Serve on the socket that is standard input until it closes. The settings are the last argument, as JSON."""
    settings = Settings(**json.loads(sys.argv[-1]))
    sys.argv[:] = [""]
    control = socket.socket(fileno=0)
    for name in _PRELOAD.split():
        importlib.import_module(name)
    sys.path += settings.paths
    try:
        finish = confine_server(settings)
        warm_up()
    except OSError as error:
        sys.exit(str(error))
    os.chdir(settings.own)
    wakeups, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    gc.disable()
    gc.freeze()  # so that a collection in a child does not copy every page
    control.sendall(READY)
    while True:
        header, descriptors, _, _ = socket.recv_fds(control, JOB.size, 8)
        if len(header) < JOB.size:
            return
        control.sendall(_do(header, descriptors, control, wakeups, finish))
        empty(settings.own)


def _do(
    header: bytes, descriptors: Sequence[int], control: socket.socket, wakeups: int, finish: Callable[[], None]
) -> bytes:
    """Do a job; return the reply."""
    with_tests, seconds, memory = JOB.unpack(header)
    started = time.monotonic()
    here = os.getpid()
    ready, is_ready = os.pipe()

    def fork(name: bytes, keep: Sequence[int], work: Callable[[], None]) -> int:
        child = os.fork()
        if child:
            with suppress(OSError):  # it is over already
                os.setpgid(child, child)
            return child
        is_ready_now = _become_job(keep, is_ready)
        try:
            confine_job(finish, seconds=seconds, memory=memory, server=here)
            os.write(is_ready_now, name)
            os.close(is_ready_now)
            gc.enable()
            work()
        finally:
            os._exit(0)

    code, given, out, err, *verdict = descriptors
    nothing = os.open(os.devnull, os.O_RDWR)
    if with_tests:
        lines = socket.socketpair()
        ours, theirs = (line.detach() for line in lines)
        # The tests first: they take longer to begin.
        tests = fork(b"t", [nothing, nothing, nothing, theirs, *verdict, given], lambda: judge(_read(5), 3, 4))
        program = fork(b"p", [nothing, out, err, ours, code], lambda: answer_tests(_code(4), 3))
        processes = _Processes(program, tests)
        descriptors = [*descriptors, ours, theirs]
    else:
        program = fork(b"p", [given, out, err, code], lambda: run_script(_code(3)))
        processes = _Processes(program, None)
    for descriptor in (*descriptors, nothing, is_ready):
        os.close(descriptor)
    why, statuses = _watch(processes, started, seconds, control, wakeups)
    elapsed = time.monotonic() - started
    _check_confined(os.read(ready, 8), why, statuses, processes)
    os.close(ready)
    found = [statuses.get(process or 0, _NO_STATUS) for process in processes]
    return REPLY.pack(why, *found, elapsed)


def _check_confined(began: bytes, why: int, statuses: dict[int, int], processes: _Processes) -> None:
    """Leave if a process ended because it could not be confined: that is no fault of the program's."""
    status = statuses.get(processes.tests or 0, 0)
    needed = b"p" if processes.tests is None else b"tp" if os.waitstatus_to_exitcode(status) == HUNG_UP else b"t"
    if why == FINISHED and set(needed) - set(began):
        sys.exit("a process could not be confined")


def _become_job(keep: Sequence[int], is_ready: int) -> int:
    """Give this process, just forked, ``keep`` as its descriptors from 0 on, and no other but the one returned."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Out of the way first, so that none is overwritten before it is moved.
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, FIRST_KEPT // 2) for descriptor in (*keep, is_ready)]
    for number, descriptor in enumerate(moved[:-1]):
        os.dup2(descriptor, number)
    os.closerange(len(keep), moved[-1])
    os.closerange(moved[-1] + 1, FIRST_KEPT)
    return moved[-1]


def _watch(
    processes: _Processes, started: float, seconds: float, control: socket.socket, wakeups: int
) -> tuple[int, dict[int, int]]:
    """Wait for the end of a job, then kill what is left of it. Returns why it ended, and wait statuses."""
    statuses: dict[int, int] = {}
    why = None
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wakeups, select.POLLIN)
    judge_ = processes.tests or processes.program
    used = -1.0
    deadline, latest = started + seconds, started + LONGEST * seconds
    next_look = started + _TICK
    try:
        while why is None:
            now = time.monotonic()
            for descriptor, _ in poll.poll(max(0.0, min(max(deadline, now + _TICK), next_look) - now) * 1000 + 1):
                if descriptor == wakeups:
                    os.read(wakeups, 64)
                elif control.recv(1):
                    why = STOPPED
                else:
                    sys.exit()  # whoever waited for this is gone
            _reap(statuses)
            now = time.monotonic()
            if judge_ in statuses:
                why = FINISHED
            elif now >= deadline:
                used, before = _processor_time(processes), used
                if now >= latest or not (before < used < (now - started) / 2 and _is_overloaded()):
                    why = TIMEOUT
            elif now >= next_look:
                next_look = now + _TICK
                why = FILES if is_too_much(".") else why
        if os.waitstatus_to_exitcode(statuses.get(judge_, 0)) == HUNG_UP:
            # The program closed the line: is it really gone? Its status says how.
            end = time.monotonic() + _LAST_MOMENT
            while processes.program not in statuses and time.monotonic() < end:
                time.sleep(_LAST_MOMENT / 100)
                _reap(statuses)
    finally:
        for process in processes.all():
            with suppress(OSError):
                os.killpg(process, signal.SIGKILL)
            if process not in statuses:
                os.waitpid(process, 0)
    return why, statuses


def _processor_time(processes: _Processes) -> float:
    """Seconds on processors that the processes of a job had so far."""
    used = 0.0
    for process in processes.all():
        with suppress(OSError):
            used += time.clock_gettime((~process << 3) | 2)  # the clock of another process
    return used


def _is_overloaded() -> bool:
    """Whether others leave too little of the machine: jobs come last, and it is no fault of theirs."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def _reap(statuses: dict[int, int]) -> None:
    """Take the wait statuses of processes that have ended."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            statuses[found[0]] = found[1]


def _code(descriptor: int) -> str:
    """The program's text; a mark of its byte order is none of it."""
    return _read(descriptor).decode("utf-8-sig", "surrogatepass")


def _read(descriptor: int) -> bytes:
    """Read a descriptor to its end, and close it."""
    with open(descriptor, "rb") as file:
        return file.read()
