"""One writer a run, whoever else looks, forks or dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cot_distill.errors import RunError
from cot_distill.run_lock import is_locked, is_ours, release, take


def test_it_is_held_until_it_is_released(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    descriptor = take(tmp_path)
    assert is_locked(tmp_path)
    assert is_ours(descriptor)
    with pytest.raises(RunError, match=f"in use by process {os.getpid()} on "):
        take(tmp_path)
    release(descriptor)
    release(descriptor)
    assert not is_locked(tmp_path)
    assert not is_ours(descriptor)
    release(take(tmp_path))


FORKING = """
import os, sys, time
from pathlib import Path
from cot_distill.run_lock import take
take(Path(sys.argv[1]))
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_keep_it_when_its_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            assert is_locked(tmp_path)
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            release(take(tmp_path))
        finally:
            os.kill(child, signal.SIGKILL)
