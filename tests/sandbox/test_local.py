"""The sandbox of this machine as its users meet it: loops, threads, forks, cancelling, ends and breakdowns."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from cot_distill.errors import ConfigError, SandboxUnavailableError
from cot_distill.sandbox import LocalSandbox, Outcome, Sandbox, isolation, probe, probing, run_python

DOUBLE = "def double(value): return 2 * value"
TESTS = ["assert double(2) == 4", "assert double('a') == 'aa'"]
SLEEP = "import time\ntime.sleep(60)"
WORKS = isolation() != "none"

needs_isolation = pytest.mark.skipif(not WORKS, reason="nothing can keep a program in here")


def descendants(pid: int) -> set[int]:
    """Processes below one, however deep."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        try:
            text = (entry / "stat").read_text() if entry.name.isdigit() else ""
        except OSError:
            continue
        if text and text.rpartition(")")[2].split()[0] != "Z":
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found: set[int] = set()
    while new := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= new
    return found


def gone(pids: set[int], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.02)
    return False


def busy(sandbox: LocalSandbox, timeout: float = 10.0) -> set[int]:
    """Wait until a program runs in a sandbox; return its processes."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        servers = list(sandbox._pool._all)
        below = {pid for server in servers for pid in descendants(server._process.pid) | {server._process.pid}}
        if servers and len(below) >= 3:
            return below
        time.sleep(0.02)
    raise AssertionError("no program began to run")


@pytest.fixture
def one(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    sandbox = LocalSandbox(workers=1, _tier=getattr(request, "param", None))
    yield sandbox
    sandbox.close()


# --- in loops, threads and scripts ---


@needs_isolation
@pytest.mark.anyio
async def test_it_runs_programs_within_a_block_and_is_gone_after_it() -> None:
    sandbox = LocalSandbox(workers=2)
    before = descendants(os.getpid())
    async with sandbox, anyio.create_task_group() as group:

        async def check() -> None:
            outcome = await sandbox.run(DOUBLE, TESTS)
            assert (outcome.status, outcome.score, outcome.isolation) == ("passed", 1.0, isolation())
            assert 0 < outcome.seconds < 10

        for _ in range(6):
            group.start_soon(check)
    assert not sandbox._pool._all
    assert descendants(os.getpid()) <= before


@needs_isolation
def test_it_serves_several_loops_and_needs_no_block() -> None:
    sandbox = LocalSandbox(workers=1)
    for backend in ("asyncio", "trio", "asyncio"):
        assert anyio.run(sandbox.run, DOUBLE, TESTS, backend=backend).status == "passed"
    sandbox.close()


@needs_isolation
def test_it_serves_several_loops_at_the_same_time() -> None:
    sandbox = LocalSandbox(workers=2)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: anyio.run(sandbox.run, DOUBLE, TESTS), range(12)))
    assert [outcome.status for outcome in found] == ["passed"] * 12
    assert len(sandbox._pool._all) <= 2
    sandbox.close()


@needs_isolation
def test_two_blocks_may_share_it(one: LocalSandbox) -> None:
    async def work() -> None:
        async with one:
            async with one:
                await one.run(DOUBLE, TESTS)
            assert (await one.run(DOUBLE, TESTS)).status == "passed"
            assert one._pool._all
        assert not one._pool._all
        assert (await one.run(DOUBLE, TESTS)).status == "passed"

    anyio.run(work)


@needs_isolation
def test_run_python_works_anywhere() -> None:
    async def cell() -> Outcome:
        return run_python(DOUBLE, TESTS)

    assert run_python(DOUBLE, TESTS).passed is True
    assert asyncio.run(cell()).passed is True
    with ThreadPoolExecutor(4) as pool:
        assert all(outcome.passed for outcome in pool.map(lambda _: run_python(DOUBLE, TESTS), range(8)))


@needs_isolation
def test_it_outlives_the_thread_that_used_it_first(one: LocalSandbox) -> None:
    def first() -> None:
        assert one.run_blocking(DOUBLE, TESTS).status == "passed"

    thread = threading.Thread(target=first)
    thread.start()
    thread.join()
    (server,) = one._pool._all
    time.sleep(0.1)
    assert one.run_blocking(DOUBLE, TESTS).status == "passed"
    assert one._pool._all == {server}


@needs_isolation
def test_a_copy_by_pickle_works_by_itself(one: LocalSandbox) -> None:
    one.run_blocking(DOUBLE, TESTS)
    copy = pickle.loads(pickle.dumps(one))
    assert copy.digest == one.digest
    assert not copy._pool._all
    assert copy.run_blocking(DOUBLE, TESTS).status == "passed"
    copy.close()


@needs_isolation
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="forking a process with threads warns there")
def test_a_forked_process_has_servers_of_its_own(one: LocalSandbox) -> None:
    assert one.run_blocking(DOUBLE, TESTS).status == "passed"
    child = os.fork()
    if child == 0:
        try:
            works = one.run_blocking(DOUBLE, TESTS).status == "passed" and run_python(DOUBLE, TESTS).passed
            one.close()
            os._exit(0 if works else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    (server,) = one._pool._all
    assert one.run_blocking(DOUBLE, TESTS).status == "passed"
    assert one._pool._all == {server}


# --- ends ---


@needs_isolation
@pytest.mark.anyio
async def test_cancelling_ends_the_program_at_once() -> None:
    async with LocalSandbox(workers=1) as sandbox:
        await sandbox.run(DOUBLE, TESTS)
        begun = time.monotonic()
        with anyio.move_on_after(0.3) as scope:
            await sandbox.run(SLEEP, TESTS, timeout=60)
        assert scope.cancelled_caught
        assert time.monotonic() - begun < 5
        assert (await sandbox.run(DOUBLE, TESTS)).status == "passed"


@needs_isolation
def test_closing_ends_what_runs(one: LocalSandbox) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(one.run_blocking, SLEEP, TESTS, timeout=60)
        below = busy(one)
        with ThreadPoolExecutor(1) as closer:
            closing = closer.submit(one.close)
            closing.result(timeout=10)
        assert gone(below)
        # Whoever waited is served by another server; there the program goes on until it is ended too. Where the first
        # was closed before it had begun, that is known at once, and nothing is left to end.
        if not future.done():
            with suppress(AssertionError):
                busy(one)
            one.close()
        assert future.result(timeout=20).status == "sandbox_error"


KILLED = """
import sys, threading, time
from cot_distill.sandbox import LocalSandbox
sandbox = LocalSandbox(workers=1, _tier=sys.argv[1])
code = "import time\\nprint('on')\\nwhile True: pass"
threading.Thread(target=sandbox.run_blocking, args=(code, "assert f(1)"), kwargs={"timeout": 60}, daemon=True).start()
while not sandbox._pool._all: time.sleep(0.01)
time.sleep(0.2)
(server,) = sandbox._pool._all
print(server._place.path if server._place else "", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("tier", [name for name, trouble in probe().items() if trouble is None][:2])
def test_nothing_outlives_this_process(tier: str) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, tier], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        place = process.stdout.readline().strip()
        below = descendants(process.pid)
        assert len(below) >= 3
        process.kill()
    assert gone(below)
    if place:  # the directory of a process that was killed is removed by the next one
        assert Path(place).exists()
        again = LocalSandbox(workers=1, _tier=tier)
        assert again.run_blocking(DOUBLE, TESTS).status == "passed"
        again.close()
        until = time.monotonic() + 10  # another test may just be removing it
        while Path(place).exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert not Path(place).exists()


SCRIPT = """
import asyncio, sys, warnings
from cot_distill.sandbox import LocalSandbox, run_python
assert run_python("def f(): return 1", "assert f() == 1").passed
kept = LocalSandbox(workers=1)
assert asyncio.run(kept.run("def f(): return 1", "assert f() == 1")).passed
print("done")
"""


@needs_isolation
def test_a_script_ends_without_a_word() -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@needs_isolation
def test_ctrl_c_ends_the_program(tmp_path: Path) -> None:
    code = "from cot_distill.sandbox import run_python\nprint('on', flush=True)\n"
    code += "run_python('while True: pass', 'assert f()', timeout=60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while len(below := descendants(process.pid)) < 3:
            time.sleep(0.02)
        time.sleep(0.2)  # the first of them may be those of a probe
        below |= descendants(process.pid)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
    assert gone(below)


# --- breakdowns ---


@needs_isolation
def test_a_server_that_was_killed_while_idle_is_replaced(one: LocalSandbox) -> None:
    assert one.run_blocking(DOUBLE, TESTS).status == "passed"
    (server,) = one._pool._all
    server.kill()
    assert one.run_blocking(DOUBLE, TESTS).status == "passed"
    assert one._pool._all != {server}


@needs_isolation
@pytest.mark.parametrize("times", [1, 2])
def test_a_breakdown_is_retried_once(one: LocalSandbox, times: int) -> None:
    code = "import time\ntime.sleep(0.5)\n" + DOUBLE
    one.run_blocking(DOUBLE, TESTS)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(one.run_blocking, code, TESTS)
        seen: set[object] = set()
        for _ in range(times):
            while not (
                new := [server for server in one._pool._all if server not in seen and server in busy_ones(one)]
            ):
                time.sleep(0.01)
            seen.add(new[0])
            new[0].kill()
        outcome = future.result(timeout=30)
    assert outcome.status == ("passed" if times == 1 else "sandbox_error")
    assert outcome.passed is (True if times == 1 else None)
    assert one.run_blocking(DOUBLE, TESTS).status == "passed"


def busy_ones(sandbox: LocalSandbox) -> list[object]:
    return [server for server in sandbox._pool._all if len(descendants(server._process.pid)) >= 3]


# --- settings ---


@needs_isolation
def test_memory_and_time_are_what_they_are_set_to(one: LocalSandbox) -> None:
    code = "def take(size): return len(bytearray(size << 20))"
    assert one.run_blocking(code, "assert take(200)", memory=128).status == "error"
    assert one.run_blocking(code, "assert take(200)", memory=512).status == "passed"
    outcome = one.run_blocking(SLEEP, "assert f()", timeout=0.2)
    assert outcome.status == "timeout"
    assert 0.2 <= outcome.seconds < 2


@needs_isolation
def test_programs_import_from_the_paths_they_are_given(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "mine.py").write_text("VALUE = 7\n")
    code = "import mine\ndef value(): return mine.VALUE"
    for tier in (name for name, trouble in probe().items() if trouble is None):
        sandbox = LocalSandbox(workers=1, paths=[tmp_path], _tier=tier)
        assert sandbox.run_blocking(code, "assert value() == 7").status == "passed"
        outcome = sandbox.run_blocking("import numpy.nothing", "assert value() == 7")
        assert outcome.status == "unverifiable"
        assert "numpy" in outcome.reason
        sandbox.close()


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers"):
        LocalSandbox(workers=0)
    with pytest.raises(ConfigError, match="no directory"):
        LocalSandbox(paths=[tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="timeout"):
        LocalSandbox().run_blocking(DOUBLE, TESTS, timeout=0)
    with pytest.raises(ConfigError, match="memory"):
        LocalSandbox().run_blocking(DOUBLE, TESTS, memory=8)


def test_the_digest_tells_what_verdicts_depend_on(tmp_path: Path) -> None:
    assert LocalSandbox(workers=1).digest == LocalSandbox(workers=2).digest
    assert (
        len({s.digest for s in (LocalSandbox(), LocalSandbox(execute_unsafely=True), LocalSandbox(paths=[tmp_path]))})
        == 3
    )


# --- without isolation ---


@pytest.mark.skipif(not hasattr(os, "fork"), reason="programs are run in forked processes")
def test_without_isolation_it_says_so_and_fakes_still_fail() -> None:
    found = {
        code: run_python(code, TESTS, execute_unsafely=True)
        for code in (
            DOUBLE,
            "import sys; sys.exit(0)",
            "class Any:\n __eq__ = lambda *_: True\ndef double(value): return Any()",
            "print('passed')\ndef double(value): return 0",
        )
    }
    assert [outcome.status for outcome in found.values()] == ["passed", "exited", "unverifiable", "failed"]
    assert {outcome.isolation for outcome in found.values()} == {"none"}
    outcome = run_python("while True: pass", TESTS, execute_unsafely=True, timeout=0.3)
    assert outcome.status == "timeout"


def test_where_nothing_works_it_refuses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in probe():
        monkeypatch.setitem(probing._found, name, "not here")
    sandbox = LocalSandbox()
    with pytest.raises(SandboxUnavailableError) as caught:
        sandbox.run_blocking(DOUBLE, TESTS)
    for part in (
        "bubblewrap or Landlock",
        "landlock+seccomp: not here",
        "execute_unsafely=True",
        "sandbox of your own",
    ):
        assert part in str(caught.value)
    assert isolation() == "none"

    async def enter() -> None:
        async with sandbox:
            pass

    with pytest.raises(SandboxUnavailableError):
        anyio.run(enter)


def test_a_tier_that_lets_something_out_is_found_out() -> None:
    from cot_distill.sandbox.tiers import Tier

    open_door = Tier("open", bwrap=False, landlock=False, seccomp=False)
    trouble = probing._try(open_door)
    assert trouble is not None
    for part in ("read a file outside", "write a file outside", "connect", "start a process", "signal"):
        assert part in trouble
    if "landlock+seccomp" in [name for name, trouble in probe().items() if trouble is None]:
        half = probing._try(Tier("half", bwrap=False, landlock=False, seccomp=True))
        assert half is not None
        assert "read a file outside" in half
        assert "start a process" not in half


def test_other_sandboxes_fit_the_protocol() -> None:
    class Mine:
        async def run(self, code: str, tests: object, *, timeout: float, memory: int) -> Outcome:
            return Outcome("passed", isolation="docker")

    mine: Sandbox = Mine()
    assert isinstance(mine, Sandbox)
    assert isinstance(LocalSandbox(), Sandbox)
