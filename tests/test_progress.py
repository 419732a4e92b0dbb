"""Showing how a run goes: on a real terminal, in a log file, and not at all."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from cot_distill import progress as module
from cot_distill.progress import Progress, show_progress
from cot_distill.types import Failure, Sample, Task, Trace, Usage, Verdict

TASK = Task(id=1, instruction="q")
USAGE = Usage(prompt_tokens=100, completion_tokens=900)

SCRIPT = """
import sys
from cot_distill import Distiller, Verdict
from cot_distill.testing import ScriptedTeacher

def even(task, trace):
    return Verdict(by="even", passed=int(trace.answer) % 2 == 0)

teacher = ScriptedTeacher(lambda messages: ("r", messages[-1].content))
Distiller(teacher, verifiers=[even]).run([str(n) for n in range(20)], sys.argv[1], progress=eval(sys.argv[2]))
"""


def sample(passed: bool | None = None) -> Sample:
    verdicts = () if passed is None else (Verdict(by="v", passed=passed),)
    return Sample(task=TASK, trace=Trace(reasoning="r", answer="a"), verdicts=verdicts, usage=USAGE)


def failure() -> Failure:
    return Failure(task=TASK, stage="request", kind="http", message="no")


def asking(path: Path, progress: bool | None) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(path), str(progress)]


def on_a_terminal(command: list[str]) -> tuple[str, str]:
    """Run with standard error on a real pseudo-terminal; return what shows there, and standard output."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux says so when the last writer has left
                return
            if not piece:
                return
            shown.extend(piece)

    reader = threading.Thread(target=read)
    try:
        with subprocess.Popen(command, stderr=slave, stdout=subprocess.PIPE, text=True) as process:
            os.close(slave)
            reader.start()
            output, _ = process.communicate()
            assert process.returncode == 0, shown.decode()
        reader.join(5)
    finally:
        os.close(master)
    return shown.decode(), output


# Where it is shown


@pytest.mark.parametrize("progress", [None, True])
def test_a_bar_on_a_terminal(tmp_path: Path, progress: bool | None) -> None:
    shown, output = on_a_terminal(asking(tmp_path / "run", progress))
    assert output == ""
    last = re.split(r"[\r\n]+", shown.rstrip())[-1]
    assert "\r" in shown  # it is drawn in place
    assert last.startswith("cot_distill: 100%")
    assert "20/20" in last
    assert "0 failed, 20 samples (10 passed, 10 wrong), 60 tokens" in last


def test_silence_on_a_terminal(tmp_path: Path) -> None:
    assert on_a_terminal(asking(tmp_path / "run", False)) == ("", "")


def test_a_plain_line_where_there_is_no_terminal(tmp_path: Path) -> None:
    result = subprocess.run(asking(tmp_path / "run", None), capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert re.fullmatch(
        r"cot_distill: 20 of 20 attempts: 0 failed, 20 samples \(10 passed, 10 wrong\), 60 tokens, [\d.]+/s\n",
        result.stderr,
    )


def test_silence_where_there_is_no_terminal(tmp_path: Path) -> None:
    result = subprocess.run(asking(tmp_path / "run", False), capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")


def test_a_second_session_starts_where_the_first_stopped(tmp_path: Path) -> None:
    code = (
        SCRIPT.replace("range(20)", "range(15)").replace("eval(sys.argv[2])", "False").replace("sys.argv[1]", "path")
    )
    exec(code, {"path": str(tmp_path / "run")})
    shown, _ = on_a_terminal(asking(tmp_path / "run", True))
    drawn = [line for line in re.split(r"[\r\n]+", shown) if line]
    assert "20/20" in drawn[-1]
    assert "0 failed, 5 samples (2 passed, 3 wrong), 15 from earlier, 15 tokens" in drawn[-1]
    result = subprocess.run(asking(tmp_path / "run", None), capture_output=True, text=True, check=True)
    assert result.stderr == (
        "cot_distill: 20 of 20 attempts: 0 failed, 0 samples, 20 from earlier, 0 tokens, 0.0/s\n"
    )


def test_a_bar_begins_with_what_was_counted_before(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(8)
    progress.count_earlier(5)
    with show_progress(progress, True):
        progress.count_earlier(1)
        progress.count(sample())
    drawn = [line for line in re.split(r"[\r\n]+", capsys.readouterr().err) if line]
    assert "5/8" in drawn[0]
    assert "7/8" in drawn[-1]


def test_lines_come_now_and_then_and_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINE_SECONDS", 0.0)
    progress = Progress(3)
    with show_progress(progress, None):
        for outcome in (sample(), failure(), sample()):
            progress.count(outcome)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.partition(" attempts")[0] for line in lines] == [
        f"cot_distill: {done} of 3" for done in (1, 2, 3, 3)
    ]


def test_few_lines_are_written_however_many_outcomes_come(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(None)
    with show_progress(progress, None):
        for _ in range(10_000):
            progress.count(sample())
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_error_does_not_hide_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(None)
    with pytest.raises(LookupError), show_progress(progress, None):
        progress.count(sample())
        raise LookupError
    assert capsys.readouterr().err.startswith("cot_distill: 1 attempts: 0 failed, 1 samples, 1.0k tokens, ")


# What is shown


def test_everything_is_counted() -> None:
    progress = Progress(10)
    progress.count_earlier(3)
    for outcome in (sample(), sample(True), sample(False), sample(None), failure()):
        progress.count(outcome)
    assert (progress.done, progress.samples, progress.passed, progress.wrong, progress.failed) == (8, 4, 1, 1, 1)
    assert str(progress) == "1 failed, 4 samples (1 passed, 1 wrong), 3 from earlier, 4.0k tokens"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (1_234_567, "1.2M"), (5 * 10**9, "5.0G"), (2 * 10**13, "20000.0G")],
)
def test_tokens_are_rounded(tokens: int, text: str) -> None:
    progress = Progress(None)
    progress.tokens = tokens
    assert str(progress).endswith(f"{text} tokens")


@pytest.mark.parametrize(
    ("total", "done", "of", "left"), [(None, 0, "", False), (10, 0, " of 10", True), (3, 2, " of 3", False)]
)
def test_the_time_that_is_left_is_told_where_it_can_be(total: int | None, done: int, of: str, left: bool) -> None:
    progress = Progress(total)
    progress.count_earlier(done)
    progress.count(sample())
    line = progress.line()
    assert line.startswith(f"cot_distill: {done + 1}{of} attempts: 0 failed, 1 samples, ")
    assert bool(re.search(r", \d+ s left$", line)) is left
