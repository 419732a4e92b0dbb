"""Calling async code from plain code, with and without a loop that runs already."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time

import anyio
import pytest

from cot_distill.blocking import run_blocking


async def answer() -> int:
    await anyio.sleep(0.01)
    return 42


def test_from_a_script_and_twice() -> None:
    assert run_blocking(answer) == 42
    assert run_blocking(answer) == 42


def test_inside_a_running_loop() -> None:
    async def cell() -> int:
        return run_blocking(answer)

    assert asyncio.run(cell()) == 42


def test_errors_come_out_as_they_are() -> None:
    async def broken() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_blocking(broken)


def test_uvloop_is_used_where_it_is_installed_and_only_on_a_loop_of_our_own() -> None:
    pytest.importorskip("uvloop")

    async def loop() -> str:
        return type(asyncio.get_running_loop()).__module__

    async def cell() -> tuple[str, str]:
        return run_blocking(loop), await loop()

    assert run_blocking(loop) == "uvloop"
    inside, own = asyncio.run(cell())
    assert inside == "uvloop"
    assert own.startswith("asyncio")


SCRIPT = """
import anyio, sys
from cot_distill.blocking import run_blocking

async def work():
    try:
        print("working", flush=True)
        await anyio.sleep(60)
    finally:
        print("cleaned up", flush=True)

try:
    run_blocking(work)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_cancels_cleans_up_and_returns_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "cleaned up\ninterrupted\n"
        process.wait()
    assert time.monotonic() - started < 5
    assert process.returncode == 0
