"""The extra `fast`: used where it is installed, unless it is switched off."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio
from cot_distill.blocking import run_blocking
from cot_distill.http1 import new_talk

async def loop():
    return type(asyncio.get_running_loop()).__module__

print(type(new_talk()).__name__, run_blocking(loop).partition(".")[0])
"""


def outcome(**variables: str) -> list[str]:
    env = {name: value for name, value in os.environ.items() if name != "COT_DISTILL_FAST"} | variables
    result = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    return result.stdout.split()


def test_used_where_it_is_installed() -> None:
    pytest.importorskip("httptools")
    pytest.importorskip("uvloop")
    assert outcome() == ["LlhttpTalk", "uvloop"]


def test_switched_off() -> None:
    assert outcome(COT_DISTILL_FAST="0") == ["H11Talk", "asyncio"]
