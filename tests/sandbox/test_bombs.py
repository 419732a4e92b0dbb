"""Programs that want all there is: time, memory, threads, files, output. Each gets its share, and no more."""

from __future__ import annotations

import re
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest

from cot_distill.sandbox import LocalSandbox

TESTS = "assert double(21) == 42"
LOOP = "\n    while True: pass"

QUICK: dict[str, tuple[str, str, set[str]]] = {
    # Processes and threads.
    "forks": ("import os\nwhile True: os.fork()", TESTS, {"error"}),
    "starts threads": (
        "import threading, time\ndef double(value):\n"
        " while True: threading.Thread(target=time.sleep, args=(99,)).start()",
        TESTS,
        {"error", "exited"},
    ),
    "starts threads with small stacks": (
        "import threading, time\nthreading.stack_size(32768)\ndef double(value):\n"
        " while True: threading.Thread(target=time.sleep, args=(99,)).start()",
        TESTS,
        {"error", "exited"},
    ),
    # Memory.
    "takes much at once": ("def double(value): return bytearray(1 << 40)", TESTS, {"error"}),
    "takes more and more": ("kept = []\nwhile True: kept.append(bytes(1 << 20))", TESTS, {"error", "exited"}),
    "takes small things": ("kept = []\nwhile True: kept.append([kept] * 99)", TESTS, {"error", "exited"}),
    "maps memory": ("import mmap\nkept = []\nwhile True: kept.append(mmap.mmap(-1, 1 << 26))", TESTS, {"error"}),
    "unpacks": (
        "import zlib\npacked = zlib.compress(bytes(1 << 24))\n"
        "def double(value): return [zlib.decompress(packed) for _ in range(99)]",
        TESTS,
        {"error", "exited"},
    ),
    "is nested deeply": ("(" * 100_000, TESTS, {"error"}),
    "is one long sum": ("1" + "+1" * 200_000, TESTS, {"error", "exited"}),
    # What it returns.
    "returns a huge number": ("def double(value): return 1 << 100_000_000", TESTS, {"output_limit"}),
    "returns a huge text": ("def double(value): return 'x' * 20_000_000", TESTS, {"output_limit"}),
    "returns a huge list": ("def double(value): return [123456789] * 1_000_000", TESTS, {"output_limit"}),
    "returns a deep list": (
        "def double(value):\n found = []\n for _ in range(100_000): found = [found]\n return found",
        TESTS,
        {"unverifiable"},
    ),
    "returns a list within itself": (
        "def double(value):\n found = []\n found.append(found)\n return found",
        TESTS,
        {"failed"},
    ),
    "returns a text that is many": ("def double(value): return ['x' * 1_000_000] * 100", TESTS, {"output_limit"}),
    "raises a huge error": ("def double(value): raise ValueError('x' * 20_000_000)", TESTS, {"output_limit"}),
    # Output and files.
    "prints": ("while True: print('x' * 9999)", TESTS, {"output_limit"}),
    "prints errors": ("import os\nwhile True: os.write(2, b'x' * 9999)", TESTS, {"output_limit"}),
    "prints when called": ("def double(value):\n while True: print('x' * 9999)", TESTS, {"output_limit"}),
    "writes a large file": ("open('file', 'wb').write(bytes(1 << 28))", TESTS, {"error"}),
    "writes many files": (
        "count = 0\nwhile True:\n count += 1\n open(str(count), 'wb').write(bytes(1 << 20))",
        TESTS,
        {"output_limit", "error"},
    ),
    "makes many files": ("count = 0\nwhile True:\n count += 1\n open(str(count), 'w')", TESTS, {"output_limit"}),
    "makes directories in directories": (
        "import os\nwhile True: os.mkdir('x'); os.chdir('x')",
        TESTS,
        {"output_limit"},
    ),
    "hides files in a closed directory": (
        "import os\nos.mkdir('x', 0o300)\ncount = 0\nwhile True:\n count += 1\n open(f'x/{count}', 'w')",
        TESTS,
        {"output_limit"},
    ),
    "hides files deep down": (
        "import os\nfor _ in range(40): os.mkdir('x' * 200); os.chdir('x' * 200)\ncount = 0\n"
        "while True:\n count += 1\n open(str(count), 'w')",
        TESTS,
        {"output_limit"},
    ),
    "keeps files without names": (
        "import os\nkept = []\nwhile True:\n"
        " kept.append(open('x', 'wb')); kept[-1].write(bytes(1 << 20)); os.remove('x')",
        TESTS,
        {"error", "output_limit"},
    ),
    "opens everything": ("import os\nwhile True: os.dup(0)", TESTS, {"error"}),
    "makes pipes": ("import os\nkept = []\nwhile True: kept.append(os.pipe())", TESTS, {"error"}),
    "keeps its output open": (
        "import threading\ndef chatter():\n while True: print('x', end='')\n"
        "threading.Thread(target=chatter, daemon=True).start()\ndef double(value): return 2 * value",
        TESTS,
        {"passed", "output_limit"},
    ),
}

ENDLESS: dict[str, tuple[str, str, set[str]]] = {
    "calls itself": (
        "import sys\nsys.setrecursionlimit(1 << 30)\ndef double(value): return double(value)",
        TESTS,
        {"error", "exited", "timeout"},
    ),
    "prints lines": ("while True: print('x')", TESTS, {"output_limit", "timeout"}),
    "keeps calling back": (
        "def each(function):\n while True: function()",
        "each(lambda: 1)\nassert each",
        {"timeout"},
    ),
    "yields huge things": (
        "def double(value):\n while True: yield 'x' * 4_000_000",
        "assert list(double(1)) == [1, 1]",
        {"timeout", "output_limit", "unverifiable"},
    ),
    "returns a generator without end": (
        "def double(value):\n while True: yield value",
        "assert list(double(1)) == [1, 1]",
        {"timeout"},
    ),
    "returns a range that takes long": (
        "def double(value): return range(10 ** 15)",
        "assert sum(double(1)) == 2",
        {"timeout"},
    ),
    "loops": ("while True: pass", TESTS, {"timeout"}),
    "loops when called": (f"def double(value):{LOOP}", TESTS, {"timeout"}),
    "loops and catches everything": (
        "def double(value):\n while True:\n  try:\n   while True: pass\n  except BaseException: pass",
        TESTS,
        {"timeout"},
    ),
    "sleeps": ("import time\ntime.sleep(1000)", TESTS, {"timeout"}),
    "naps": ("import time\nwhile True: time.sleep(0.001)", TESTS, {"timeout"}),
    "listens to no signal": (
        "import signal\nfor number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:\n"
        f" signal.signal(number, signal.SIG_IGN)\ndef double(value):{LOOP}",
        TESTS,
        {"timeout"},
    ),
    "stops itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", TESTS, {"timeout"}),
    "loops in two threads": (
        f"import threading\ndef loop():{LOOP}\nthreading.Thread(target=loop).start()\nloop()",
        TESTS,
        {"timeout"},
    ),
    "computes without a break": ("def double(value): return 9 ** 9 ** 9", TESTS, {"timeout", "error"}),
    "matches without end": ("import re\ndef double(value): return re.match('(a+)+b', 'a' * 40)", TESTS, {"timeout"}),
    "waits for itself": (
        "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
        TESTS,
        {"timeout"},
    ),
    "waits for input": ("def double(value): return input()", TESTS, {"error"}),
    "does not hang up": ("import os\ndef double(value):\n os.close(3)\n while True: pass", TESTS, {"exited"}),
}


def kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check_share(name: str, sandbox: LocalSandbox) -> None:
    code, tests, expected = QUICK[name]
    before = kilobytes()
    outcome = sandbox.run_blocking(code, tests, timeout=20, memory=256)
    assert outcome.status in expected, outcome
    assert len(outcome.stdout) <= 8192
    assert len(outcome.reason) <= 1200
    assert kilobytes() - before < 50_000


@pytest.mark.parametrize("name", QUICK)
def test_a_program_has_its_share(name: str, strongest: LocalSandbox) -> None:
    check_share(name, strongest)


@pytest.mark.parametrize("name", [name for name in QUICK if re.search("thread|file|director|fork|at once", name)])
def test_a_program_has_its_share_without_bubblewrap(name: str, weaker: LocalSandbox) -> None:
    check_share(name, weaker)


def test_a_program_without_end_is_ended(sandbox: LocalSandbox) -> None:
    many = LocalSandbox(workers=len(ENDLESS), _tier=sandbox._options["_tier"])
    before = kilobytes()
    try:
        with ThreadPoolExecutor(len(ENDLESS)) as pool:
            outcomes = pool.map(lambda bomb: many.run_blocking(*bomb[:2], timeout=1.5), ENDLESS.values())
            found = dict(zip(ENDLESS, outcomes, strict=True))
    finally:
        many.close()
    assert {name: outcome for name, outcome in found.items() if outcome.status not in ENDLESS[name][2]} == {}
    assert kilobytes() - before < 100_000
