"""Worker processes: each call ends in time, whatever it does, and none of them outlives this process."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from cot_distill.errors import ConfigError
from cot_distill.processes import WorkerDiedError, WorkerPool, WorkerTimeoutError, packed

ENDLESS = (re.match, "(a+)+$", "a" * 60 + "b")  # in C: no Python code runs meanwhile, not even a signal handler


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(workers=2, timeout=30) as pool:
        yield pool


def exists(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(*pids: int) -> bool:
    """Whether processes end within a few seconds."""
    deadline = time.monotonic() + 5
    while any(map(exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(exists, pids))


# --- calls ---


def test_a_call_returns_what_the_function_returns(pool: WorkerPool) -> None:
    assert pool.call(operator.add, [1], [2]) == [1, 2]
    assert pool.call(os.getpid) != os.getpid()
    big = os.urandom(5_000_000)
    assert pool.call(bytes, big) == big


def test_what_the_function_raises_is_raised_with_the_traceback_of_the_worker(pool: WorkerPool) -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        pool.call(operator.truediv, 1, 0)
    assert "In the worker process" in caught.value.__notes__[0]
    with pytest.raises(SystemExit):
        pool.call(sys.exit, 0)
    with pytest.raises(UnicodeDecodeError):  # with arguments of its own
        pool.call(bytes.decode, b"\xff")


def test_what_cannot_come_back_is_an_error(pool: WorkerPool) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pool.call(threading.Lock)


@pytest.mark.parametrize(("function", "args"), [(time.sleep, (60,)), (ENDLESS[0], ENDLESS[1:])])
def test_what_takes_too_long_is_killed(function: object, args: tuple[object, ...]) -> None:
    with WorkerPool(workers=1, timeout=1.5) as pool:
        pid = pool.call(os.getpid)
        start = time.monotonic()
        with pytest.raises(WorkerTimeoutError, match=r"took longer than 1\.5 s: killed"):
            pool.call(function, *args)  # type: ignore[arg-type]
        assert 1.5 <= time.monotonic() - start < 20  # a machine that starves its worker gets it more time
        assert gone(pid)
        assert pool.call(math.factorial, 5) == 120


@pytest.mark.skipif(sys.platform != "linux", reason="nothing else tells how much of a processor another process had")
def test_what_a_busy_machine_takes_is_not_held_against_a_call() -> None:
    processor = min(os.sched_getaffinity(0))
    pin = functools.partial(os.sched_setaffinity, 0, {processor})
    busy = f"import os\nos.sched_setaffinity(0, {{{processor}}})\nwhile True: pass"
    rival = subprocess.Popen([sys.executable, "-c", busy])
    try:
        with WorkerPool(workers=1, timeout=0.5, warm=pin) as pool:  # a tenth of the processor, or less, is left to it
            start = time.monotonic()
            assert pool.call(sum, range(15_000_000)) == 112_499_992_500_000
            assert time.monotonic() - start > 0.6
            with pytest.raises(WorkerTimeoutError):  # one that only waits
                pool.call(time.sleep, 60)
    finally:
        rival.kill()
        rival.wait()


def test_a_process_that_dies_is_told_and_replaced(pool: WorkerPool) -> None:
    with pytest.raises(WorkerDiedError, match="ended with code 3"):
        pool.call(os._exit, 3)
    with pytest.raises(WorkerDiedError, match="SIGABRT"):
        pool.call(os.abort)
    with pytest.raises(WorkerDiedError, match=r"SIGKILL \(out of memory\?\)"):
        pool.call(signal.raise_signal, signal.SIGKILL)
    assert pool.call(math.factorial, 5) == 120


def test_what_is_printed_does_not_get_between_the_frames(pool: WorkerPool, capfd: pytest.CaptureFixture[str]) -> None:
    assert pool.call(os.write, 1, b"noise\n") == 6
    assert pool.call(math.factorial, 5) == 120


def test_the_clock_of_a_call_starts_when_the_worker_is_ready() -> None:
    with WorkerPool(workers=1, timeout=1, warm=functools.partial(time.sleep, 1.5)) as pool:
        assert pool.call(math.factorial, 5) == 120


def test_a_worker_is_warmed_before_its_first_call() -> None:
    with WorkerPool(workers=1, timeout=30, warm=functools.partial(os.putenv, "WARM", "1")) as pool:
        assert pool.call(subprocess.getoutput, "echo $WARM") == "1"
    faulty = WorkerPool(workers=1, timeout=30, warm=functools.partial(operator.truediv, 1, 0))
    with faulty, pytest.raises(ZeroDivisionError):
        faulty.call(math.factorial, 5)


def test_memory_is_limited() -> None:
    with WorkerPool(workers=1, timeout=10, memory=1000) as pool:
        assert pool.call(math.factorial, 5) == 120
        with pytest.raises(MemoryError):
            pool.call(bytes, 2**30)
        assert pool.call(math.factorial, 5) == 120


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
def test_workers_have_a_low_priority_and_no_files_of_ours(pool: WorkerPool, tmp_path: Path) -> None:
    assert pool.call(os.nice, 0) == os.nice(0) + 10
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        with WorkerPool(workers=1, timeout=30) as fresh:
            files = Path(f"/proc/{fresh.call(os.getpid)}/fd")
            held = [os.readlink(one) for one in files.iterdir()]
    assert held
    assert file.name not in held


# --- threads, loops, cancellation ---


def test_threads_share_the_pool(pool: WorkerPool) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: pool.call(operator.mul, number, 2), range(100)))
    assert found == [2 * number for number in range(100)]


def test_one_pool_serves_one_event_loop_after_the_other(pool: WorkerPool) -> None:
    async def ask() -> list[int]:
        found: list[int] = []

        async def one(number: int) -> None:
            found.append(await pool.acall(operator.mul, number, 2))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
        return sorted(found)

    for backend in ("asyncio", "trio", "asyncio"):
        assert anyio.run(ask, backend=backend) == [2 * number for number in range(20)]


@pytest.mark.anyio
async def test_calls_run_beside_one_another_and_the_event_loop_goes_on(pool: WorkerPool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # each end waits for the other one
    read: list[str] = []

    async def reads() -> None:
        read.append(await pool.acall(Path.read_text, tmp_path / "pipe"))

    async with anyio.create_task_group() as group:
        group.start_soon(reads)
        await anyio.sleep(0.05)
        await pool.acall(Path.write_text, tmp_path / "pipe", "met")
    assert read == ["met"]


@pytest.mark.anyio
async def test_cancelling_a_call_kills_its_worker_at_once() -> None:
    with WorkerPool(workers=1, timeout=60) as pool:
        pid = await pool.acall(os.getpid)
        start = time.monotonic()
        with anyio.move_on_after(0.1):
            await pool.acall(*ENDLESS)
        assert time.monotonic() - start < 1
        assert gone(pid)
        assert await pool.acall(os.getpid) != pid


@pytest.mark.anyio
async def test_cancelling_a_call_that_waits_for_a_worker_harms_nobody() -> None:
    with WorkerPool(workers=1, timeout=60) as pool:
        pid = await pool.acall(os.getpid)
        async with anyio.create_task_group() as group:
            group.start_soon(pool.acall, time.sleep, 0.5)
            await anyio.sleep(0.1)
            thread = threading.Thread(target=pool.call, args=(os.getpid,))  # has no slot of this loop
            thread.start()
            with anyio.move_on_after(0.1):
                await pool.acall(time.sleep, 60)
        await anyio.to_thread.run_sync(thread.join)
        assert await pool.acall(os.getpid) == pid


# --- what can be sent ---


@pytest.mark.parametrize("what", [lambda: 1, threading.Lock(), (time.sleep, threading.Lock())])
def test_what_cannot_be_sent_is_a_configuration_error(pool: WorkerPool, what: object) -> None:
    with pytest.raises(ConfigError, match="top level of a module"):
        packed(what)
    with pytest.raises(ConfigError, match="top level of a module"):
        pool.call(print, what)


OF_THE_USER = """
class Odd(Exception):
    def __init__(self, one, other):
        super().__init__(one)

def twice(number):
    return 2 * number

def fail():
    raise Odd(1, 2)
"""


def test_modules_of_the_user_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_the_user.py").write_text(OF_THE_USER)
    monkeypatch.syspath_prepend(tmp_path)
    import of_the_user  # type: ignore[import-not-found]

    with WorkerPool(workers=1, timeout=30) as pool:
        assert pool.call(of_the_user.twice, 4) == 8
        with pytest.raises(RuntimeError, match="Odd"):  # one that cannot be made again
            pool.call(of_the_user.fail)
        monkeypatch.undo()
    with WorkerPool(workers=1, timeout=30) as pool, pytest.raises(ConfigError, match="No module named 'of_the_user'"):
        pool.call(of_the_user.twice, 4)


def script(text: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text))
    return subprocess.run([sys.executable, "-W", "error", str(path)], capture_output=True, text=True, timeout=60)


def test_a_script_without_a_guard_runs_once_and_is_told_to_use_a_module(tmp_path: Path) -> None:
    done = script(
        """
        print("started")
        import math
        from cot_distill.errors import ConfigError
        from cot_distill.processes import WorkerPool

        def mine(): ...
        class Mine: ...

        pool = WorkerPool(workers=2, timeout=30)
        print(pool.call(math.factorial, 5))
        for what in (mine, Mine()):
            try:
                pool.call(print, what)
            except ConfigError as error:
                print(error)
        """,
        tmp_path,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "started",
        "120",
        *[f"{name} is defined in the script or notebook itself, which no worker process can see: define it in a "
          "module and import it" for name in ("mine", "Mine")],
    ]  # fmt: skip


# --- lives ---


def test_workers_start_when_they_are_needed_and_end_with_the_block() -> None:
    pool = WorkerPool(workers=2, timeout=30)
    assert not pool._workers
    pids = set()
    for _ in range(2):
        with pool, pool:  # two runs may share it
            pids.add(pool.call(os.getpid))
        assert gone(*pids)
    assert len(pids) == 2
    pids = {pool.call(os.getpid)}
    pool.close()
    assert gone(*pids)


def test_closing_ends_calls_under_way() -> None:
    pool = WorkerPool(workers=1, timeout=60)
    pool.call(os.getpid)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(pool.call, time.sleep, 60)
        time.sleep(0.2)
        pool.close()
        with pytest.raises(WorkerDiedError, match="with its pool"):
            call.result(5)


def test_a_pool_that_nobody_holds_ends_its_workers() -> None:
    pool = WorkerPool(workers=1, timeout=30)
    pid = pool.call(os.getpid)
    del pool
    assert gone(pid)


def test_a_pickled_pool_comes_up_empty(pool: WorkerPool) -> None:
    other = pickle.loads(pickle.dumps(pool))
    assert other.call(os.getpid) != pool.call(os.getpid)
    other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_workers_of_its_own_and_leaves_ours_alone() -> None:
    pool = WorkerPool(workers=1, timeout=30)
    pid = pool.call(os.getpid)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(theirs, str(pool.call(os.getpid)).encode())
            pool.close()
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as answer:
        other = int(answer.read())
    os.waitpid(child, 0)
    assert other != pid
    assert gone(other)
    assert pool.call(os.getpid) == pid
    pool.close()


@pytest.mark.slow
@pytest.mark.parametrize("busy", ["time.sleep, 60", "re.match, '(a+)+$', 'a' * 60 + 'b'"])
def test_workers_end_when_this_process_is_killed(busy: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(f"""
        import os, re, threading, time
        from cot_distill.processes import WorkerPool

        pool = WorkerPool(workers=2, timeout=60)

        def first():  # in a thread that ends: the workers must not end with it
            print(pool.call(os.getpid), flush=True)

        thread = threading.Thread(target=first)
        thread.start()
        thread.join()
        threading.Thread(target=pool.call, args=({busy})).start()
        time.sleep(0.3)
        print(pool.call(os.getpid), flush=True)
        time.sleep(60)
    """))  # fmt: skip
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(2)]
        assert all(map(exists, pids))
        assert pids[0] != pids[1]
        process.kill()
    assert gone(*pids)


def test_bad_numbers_are_refused() -> None:
    for timeout, workers, memory in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(ConfigError, match="positive"):
            WorkerPool(timeout=timeout, workers=workers, memory=memory)
