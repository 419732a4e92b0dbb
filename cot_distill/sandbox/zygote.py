"""A fork server as seen from outside: starting it, handing it jobs, ending it.

One job at a time. What a job needs and gives passes through descriptors that go to its processes, not through the
server. Whatever happens there, a call here ends: a little after the job's time is over the server is killed.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from cot_distill.errors import SandboxUnavailableError
from cot_distill.sandbox.inside.jobs import JOB, LONGEST, READY, REPLY, STOP
from cot_distill.sandbox.tiers import Tier, start_of

__all__ = ["MOST_OUTPUT", "BrokenDownError", "Job", "Ran", "Zygote", "forget_launcher"]

T = TypeVar("T")

MOST_OUTPUT = 4 << 20
"""Bytes that a program may print."""
_KEPT_OF_ERRORS = 8 << 10
_START_SECONDS = 60.0
_GRACE_SECONDS = 10.0


class BrokenDownError(Exception):
    """The fork server is gone, or does not answer. It says nothing about the program."""


class Job(NamedTuple):
    """One run of a program."""

    code: bytes
    given: bytes
    """Standard input, or the tests."""
    with_tests: bool
    seconds: float
    memory: int
    """Bytes."""


class Ran(NamedTuple):
    """What came of a job."""

    why: int
    """Why it ended: one of ``inside.jobs``."""
    program: int
    """Its wait status; -1 if it was killed there."""
    tests: int
    """The wait status of the tests; -1 if they were killed there, or there were none."""
    seconds: float
    stdout: bytes
    stderr: bytes
    verdict: bytes
    flooded: bool
    """Whether it printed more than it may."""


class Zygote:
    """A running fork server.

    Args:
        tier: How it is confined.
        paths: Where programs may import from, beside the standard library.

    Raises:
        SandboxUnavailableError: It cannot be started like this; the message says what is missing.
    """

    def __init__(self, tier: Tier, paths: tuple[str, ...] = ()) -> None:
        start = start_of(tier, paths)
        self._place = start.place
        self._why = ""
        self._control, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        with theirs:
            try:
                self._process = _launch(
                    lambda: subprocess.Popen(  # noqa: S603 - our own command
                        start.command,
                        stdin=theirs.fileno(),
                        stdout=subprocess.DEVNULL,
                        stderr=self._errors,
                        env=start.environment,
                        cwd="/",
                        process_group=0,  # Ctrl-C in a terminal is not for it
                    )
                )
            except OSError as error:
                self._release()
                raise SandboxUnavailableError(f"{start.command[0]} cannot be started: {error}") from error
        self._control.settimeout(_START_SECONDS)
        try:
            answer = self._control.recv(len(READY))
        except OSError:
            answer = b""
        if answer != READY:
            self.close()
            raise SandboxUnavailableError(self._why or "the fork server does not start")

    def run(self, job: Job) -> Ran:
        """Run a job to its end.

        Raises:
            BrokenDownError: The server is of no use any more: close it.
        """
        ends: list[int] = []
        try:
            return self._run(job, ends)
        except (OSError, EOFError) as error:
            raise BrokenDownError(f"{type(error).__name__}: {error}") from error
        finally:
            for end in ends:
                os.close(end)

    def kill(self) -> None:
        """End the server and all that runs in it, from any thread. A call of :meth:`run` ends with an error."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End the server and all that runs in it, and wait until it is gone."""
        self.kill()
        self._process.wait()
        self._release()

    def abandon(self) -> None:
        """Let go of a server that belongs to the process which this one was forked from."""
        self._process.returncode = 0  # it is not ours to wait for
        if self._place is not None:
            self._place.let_go()
        self._release()

    def _run(self, job: Job, ends: list[int]) -> Ran:
        given = [_file_of(job.code), _file_of(job.given)]
        ends += given
        pipes = [os.pipe() for _ in range(3 if job.with_tests else 2)]
        theirs = [*given, *(write for _, write in pipes)]
        ours = [read for read, _ in pipes]
        try:
            socket.send_fds(self._control, [JOB.pack(job.with_tests, job.seconds, job.memory)], theirs)
        finally:
            for _, write in pipes:
                os.close(write)
            ends += ours
        out = _Drain(ours[0], MOST_OUTPUT)
        errors = _Drain(ours[1], _KEPT_OF_ERRORS)
        reply = self._wait(out, errors, time.monotonic() + LONGEST * job.seconds + _GRACE_SECONDS)
        why, program, tests, seconds = REPLY.unpack(reply)
        verdict = b""
        if job.with_tests:
            os.set_blocking(ours[2], False)
            with suppress(BlockingIOError):
                verdict = os.read(ours[2], 1 << 16)
        return Ran(why, program, tests, seconds, bytes(out.kept), bytes(errors.kept), verdict, _is_flood(out, errors))

    def _wait(self, out: _Drain, errors: _Drain, deadline: float) -> bytes:
        """Take in what is printed until the reply comes; return that."""
        poll = select.poll()
        drains = {drain.end: drain for drain in (out, errors)}
        for end in (self._control.fileno(), *drains):
            poll.register(end, select.POLLIN)
        stopped = False
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise EOFError("no answer in time")
            for end, _ in poll.poll(left * 1000):
                if end not in drains:
                    reply = self._control.recv(REPLY.size)
                    if len(reply) < REPLY.size:
                        raise EOFError("the fork server has ended")
                    for drain in drains.values():
                        drain.take_rest()
                    return reply
                if not drains[end].take():
                    poll.unregister(end)
            if _is_flood(out, errors) and not stopped:
                self._control.send(STOP)
                stopped = True

    def _release(self) -> None:
        self._control.close()
        if not self._errors.closed:
            self._errors.seek(0)
            self._why = self._errors.read(4000).decode("utf-8", "replace").strip()
            self._errors.close()
        if self._place is not None:
            self._place.remove()


class _Drain:
    """Reads a pipe, keeps the beginning, counts the rest."""

    def __init__(self, end: int, most: int) -> None:
        self.end = end
        self.kept = bytearray()
        self.count = 0
        self._most = most

    def take(self) -> bool:
        """Read once; False at the end."""
        data = os.read(self.end, 1 << 16)
        self.count += len(data)
        self.kept += data[: max(0, self._most - len(self.kept))]
        return bool(data)

    def take_rest(self) -> None:
        """Read what is there, without waiting for the end: a daemon may hold that back."""
        os.set_blocking(self.end, False)
        with suppress(BlockingIOError):
            while self.count <= MOST_OUTPUT and self.take():
                pass


def _is_flood(out: _Drain, errors: _Drain) -> bool:
    return out.count + errors.count > MOST_OUTPUT


def _file_of(data: bytes) -> int:
    """A descriptor to read data from, which cannot be changed."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            return os.dup(file.fileno())
    import fcntl  # not on every system

    file_ = os.memfd_create("job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file_, left) :]
        os.lseek(file_, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(file_, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(file_)
        raise
    return file_


_launcher: list[ThreadPoolExecutor] = []
_launching = threading.RLock()


def _launch(start: Callable[[], T]) -> T:
    """Start a process in the one thread that lasts as long as this process.

    The kernel ends a server when the *thread* that started it ends, which is what it is asked to do for the case that
    this process is killed; threads of event loops come and go.
    """
    with _launching:
        if not _launcher:
            _launcher.append(ThreadPoolExecutor(1, "cot_distill-sandbox"))
    return _launcher[0].submit(start).result()


def forget_launcher() -> None:
    """After a fork: that thread is in the other process, and whoever held the lock too."""
    global _launching
    _launching = threading.RLock()
    _launcher.clear()
