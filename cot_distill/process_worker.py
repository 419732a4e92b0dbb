"""One worker process: starting it, talking to it, ending it; and what runs inside of it.

Both ends of the pipes are in this file, since they must agree. How many there are, and who may have one, is the
business of :mod:`cot_distill.processes`. A frame is eight bytes of length and a pickle. The first reply says that the
worker is ready; after that there is one reply to each call.
"""

from __future__ import annotations

import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cot_distill.errors import ConfigError

__all__ = ["Settings", "Worker", "WorkerDiedError", "WorkerTimeoutError", "serve", "value_of"]

_STARTUP = 120.0
"""Seconds that a worker may take to start: imports from a slow disk, on a machine that is busy."""
_GRACE = 2.0
"""Seconds after which a worker ends itself, when nobody did it."""
_NICE = 10
_LONGEST = 10
"""So many times its seconds a call may take where the machine leaves its worker too little of a processor."""
_TICK = 0.5
"""Seconds between looks at a call whose time is over."""

_BOOT = """\
import pickle, sys
sys.path[:], settings = pickle.load(sys.stdin.buffer)
from cot_distill.process_worker import serve
serve(*settings)
"""


class WorkerTimeoutError(Exception):
    """The call took longer than it may, and its process was killed."""


class WorkerDiedError(Exception):
    """The process ended in the middle of the call: it crashed, or something killed it."""


class Settings(NamedTuple):
    """What a worker is told before it begins."""

    timeout: float
    """Seconds a call may take, on a machine that is not overloaded."""
    memory: int | None
    """MiB of address space."""
    warm: bytes | None
    """A pickled function that is called before anything else."""


class Worker:
    """One process, and the thread that talks to it: whoever waits for a reply is never held up by a pipe."""

    def __init__(self, settings: Settings) -> None:
        self.is_ready = False
        self._is_greeted = False
        self._was_killed = False
        self._timeout = settings.timeout
        self._calls: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # A process group and not a session of its own: Linux shares the CPU between sessions, whatever their `nice`.
        apart: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", _BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, **apart
        )
        first = pickle.dumps((sys.path, tuple(settings)))
        self._thread = threading.Thread(target=self._talk, args=(first,), name="cot_distill worker", daemon=True)
        self._thread.start()

    def _talk(self, first: bytes) -> None:
        process = self._process
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        with process.stdin, process.stdout, suppress(OSError):
            _write(process.stdin.fileno(), first)
            while (reply := _receive(process.stdout.fileno())) is not None:
                self.is_ready = True
                self._replies.put(reply)
                call = self._calls.get()
                if call is None:
                    break
                _send(process.stdin.fileno(), call)
        try:
            process.wait(1)  # long enough to learn how it ended, if it did
        except subprocess.TimeoutExpired:
            self.kill()
            process.wait()
        self._replies.put(None)

    def ask(self, call: bytes) -> bytes:
        """Send a call and wait for the reply. The clock starts when the worker is ready.

        A worker has a low priority, and what a busy machine keeps from it is not held against it: while it wants to
        run and gets less than half of a processor, its call may take up to ten times as long (on Linux).

        Raises:
            WorkerTimeoutError: It took too long. The worker is of no more use.
            WorkerDiedError: The process ended.
            Exception: What the warming raised.
        """
        if not self._is_greeted:
            try:
                value_of(self._reply(_STARTUP))
            except queue.Empty:
                raise WorkerDiedError(f"a worker process did not start within {_STARTUP:g} s") from None
            self._is_greeted = True
        start, used_before = time.monotonic(), self._processor_time()
        self._calls.put(call)
        wait = self._timeout
        while True:
            try:
                return self._reply(wait)
            except queue.Empty:
                lasted, used = time.monotonic() - start, self._processor_time() - used_before
                if lasted > _LONGEST * self._timeout or used > lasted / 2 or not _wants_to_run(self._process.pid):
                    raise WorkerTimeoutError(f"took longer than {self._timeout:g} s: killed") from None
                wait = _TICK

    def _reply(self, timeout: float) -> bytes:
        reply = self._replies.get(timeout=timeout)
        if reply is None:
            raise self._end()
        return reply

    def _processor_time(self) -> float:
        """Seconds on processors that the worker had so far; nothing where it is gone, or cannot be asked."""
        if sys.platform == "linux":
            with suppress(OSError):
                return time.clock_gettime((~self._process.pid << 3) | 2)  # the clock of another process
        return 0.0

    def _end(self) -> Exception:
        """Why there is no reply."""
        if self._was_killed:
            return WorkerDiedError("the worker process was ended, with its pool or with the call")
        code = self._process.returncode
        if code == -getattr(signal, "SIGALRM", 0):
            return WorkerTimeoutError(f"took longer than {self._timeout:g} s: killed")  # by its own clock
        how = f"ended with code {code}"
        if code is not None and code < 0:
            with suppress(ValueError):
                how = f"was killed by {signal.Signals(-code).name}"
            how += " (out of memory?)" if code == -9 else ""
        return WorkerDiedError(f"the worker process {how}" + ("" if self.is_ready else " before it was ready"))

    def kill(self) -> None:
        """End the process, and what it started, at once. Whoever waits for a reply is woken."""
        if self._process.poll() is None:
            self._was_killed = True
            with suppress(OSError):
                if sys.platform == "win32":
                    self._process.kill()
                else:
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._calls.put(None)
        self._replies.put(None)

    def join(self) -> None:
        """Wait until the process is gone, but not for ever."""
        self._thread.join(5)

    def forget(self) -> None:
        """In a forked process, for which this worker is not."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.returncode = 0  # else the interpreter would try to wait for it


def _wants_to_run(pid: int) -> bool:
    """Whether a process waits for a processor, or has one, and not for anything else."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    except OSError:
        return False


def value_of(reply: bytes) -> Any:
    """What the called function returned; what it raised is raised here."""
    kind, payload, text = pickle.loads(reply)  # noqa: S301 - of our own worker
    if kind == "returned":
        return pickle.loads(payload)  # noqa: S301
    if kind == "unreadable":
        raise ConfigError(
            f"a worker process cannot load what it was sent ({text}): define it in a module it can import"
        )
    try:
        error = pickle.loads(payload)  # noqa: S301
    except Exception:  # an odd one: then its words must do
        error = RuntimeError(text.strip().rpartition("\n")[2])
    error.add_note(f"In the worker process:\n{text}")
    raise error


# --- inside the worker ---


def serve(timeout: float, memory: int | None, warm: bytes | None) -> None:
    """Answer calls until there are no more."""
    calls, replies = os.dup(0), os.dup(1)
    _redirect_standard_files()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    if memory is not None and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory << 20, memory << 20))
    _watch(calls)
    _send(replies, _answered(pickle.dumps((_nothing,)) if warm is None else warm))
    while (call := _receive(calls)) is not None:
        with _on_the_clock(calls, timeout):
            reply = _answered(call)
        _send(replies, reply)
    os._exit(0)  # at once: on a busy machine to take an interpreter down takes seconds


def _nothing() -> None:
    """What a worker does that needs no warming."""


def _answered(call: bytes) -> bytes:
    """Do what a frame says; the reply, whatever happens."""
    try:
        function, *args = pickle.loads(call)  # noqa: S301 - of our own parent
    except Exception as error:
        return pickle.dumps(("unreadable", b"", _words(error)))
    try:
        payload = pickle.dumps(function(*args), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # also SystemExit: the caller decides what that means
        text = "".join(traceback.format_exception(error))
        try:
            payload = pickle.dumps(error)
            pickle.loads(payload)  # noqa: S301 - some can be sent and not be read
        except Exception:
            payload = pickle.dumps(RuntimeError(_words(error)))
        return pickle.dumps(("raised", payload, text))
    return pickle.dumps(("returned", payload, ""))


def _words(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _redirect_standard_files() -> None:
    """What the called code prints goes to stderr, so that it cannot get between the frames."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no stderr
        os.dup2(nothing, 1)
    os.close(nothing)


def _watch(calls: int) -> None:
    """Have the kernel send SIGIO when the parent is gone, since code in C can keep all Python threads waiting."""
    if sys.platform != "win32":
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_IGN)
        with suppress(OSError):  # where pipes cannot do this, the worker's own clock ends it
            fcntl.fcntl(calls, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(calls, fcntl.F_SETFL, fcntl.fcntl(calls, fcntl.F_GETFL) | os.O_ASYNC)


@contextmanager
def _on_the_clock(calls: int, timeout: float) -> Iterator[None]:
    """Within, this process is ended by the kernel if the parent ends, or fails to end it in time.

    That is no matter of a parent-death signal, which comes when the *thread* ends that started the process.
    """
    if sys.platform == "win32":
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, _LONGEST * timeout + _GRACE)
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # nothing is sent during a call: it can only mean the end of the pipe
    if select.select([calls], [], [], 0)[0]:
        os._exit(0)
    try:
        yield
    finally:
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


# --- frames ---


def _send(file: int, frame: bytes) -> None:
    _write(file, len(frame).to_bytes(8, "big") + frame)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _receive(file: int) -> bytes | None:
    """The next frame, or None at the end of the pipe."""
    header = _read(file, 8)
    return None if header is None else _read(file, int.from_bytes(header, "big"))


def _read(file: int, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(file, min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
