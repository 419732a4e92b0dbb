"""The command line: the main job from end to end, twice; the second time nothing is asked."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import load_dataset

from cot_distill import sandbox
from cot_distill.__main__ import main
from cot_distill.run import Run
from cot_distill.testing import FaultServer
from cot_distill.trace import join

TASKS = '{"id": "a", "question": "one"}\n{"id": "b", "question": "two"}\n'


def completions(out: Path) -> int:
    return (out / "run" / "journal-00000.jsonl").read_bytes().count(b'"kind":"completion"')


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def test_the_demo_from_end_to_end_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["--tasks", "30", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "a program that solves made-up tasks" in said
    assert "worthless as training data" in said
    tests = ", verifiers.unit_tests()" if sandbox.isolation() != "none" else ""
    assert f"distiller = Distiller('demo', verifiers=[verifiers.exact(){tests}])" in said
    assert not tests or "0 not judged" in said
    assert "<think>" in said
    assert "30 attempts at 30 tasks" in said
    before, written = completions(out), contents(out)
    assert before > 20
    assert written.keys() == {"train.jsonl", "train.parquet"}

    assert main(["--tasks", "30", "--out", str(out)]) == 0
    assert completions(out) == before
    assert contents(out) == written

    samples = [sample for sample in Run.open(out / "run").samples() if sample.passed is not False]
    for kind, name in (("json", "train.jsonl"), ("parquet", "train.parquet")):
        rows = load_dataset(kind, data_files=str(out / name), split="train", cache_dir=str(tmp_path / kind))
        assert len(rows) == len(samples) > 20
        for row, sample in zip(rows, samples, strict=True):
            assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
            assert row["messages"][0]["content"] == sample.task.instruction
            assert row["messages"][1]["content"] == join(sample.trace)


def test_what_is_printed_is_what_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copied into a file of one's own, it does the same."""
    out = tmp_path / 'it\'s an "odd" name'
    assert main(["--tasks", "5", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    code = "\n".join(line.removeprefix("    ") for line in said.splitlines() if line.startswith("    "))
    code = code.partition("\n<think>")[0].partition("\nTask: ")[0]
    before = contents(out)
    for path in out.glob("train.*"):
        path.unlink()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert contents(out) == before


def test_a_provider_a_model_an_address_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tasks.jsonl").write_text(TASKS)
    with FaultServer() as server:
        arguments = [
            *("--teacher", "vllm", "--model", "some/model:7b", "--base-url", server.base_url),
            *("--tasks", str(tmp_path / "tasks.jsonl"), "--out", str(tmp_path / "out")),
        ]
        assert main(arguments) == 0
        assert [entry.body["model"] for entry in server.log] == ["some/model:7b"] * 2
        assert sorted(entry.prompt for entry in server.log) == ["one", "two"]
    said = capsys.readouterr().out
    assert "program" not in said
    assert "open_teacher('vllm:some/model:7b', base_url='http://127.0.0.1:" in said
    assert [sample.task.id for sample in Run.open(tmp_path / "out" / "run").samples()] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks", "0"], "no tasks"),
        (["--tasks", "nowhere.jsonl"], "solves only tasks that it makes itself"),
        (["--teacher", "nobody", "--model", "m"], "no provider 'nobody'"),
        (["--teacher", "demo", "--model", "m"], "demo"),
    ],
)
def test_an_error_is_one_line_and_exit_status_1(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "status", "words"), [(["--help"], 0, "--base-url"), (["--bogus"], 2, "unrecognized arguments")]
)
def test_help_and_usage(arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == status
    assert words in "".join(capsys.readouterr())


def test_ctrl_c_says_where_the_answers_are_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cot_distill", "--tasks", "2000", "--out", "out"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        segment = tmp_path / "out" / "run" / "journal-00000.jsonl"
        until = time.monotonic() + 20
        while not segment.exists() or segment.stat().st_size < 20_000:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode in (130, -signal.SIGINT)  # a shell sees 130 in either case
    assert error.endswith("\nstopped. What was answered is in out: run the same again to go on\n")
    assert "Traceback" not in error
    report = Run.open(tmp_path / "out" / "run").report()
    assert report.killed == 0
    assert 0 < report.asked < 2000
    ids = [json.loads(line)["task"]["id"] for line in segment.read_bytes().splitlines() if b'"task"' in line]
    assert len(ids) == len(set(ids))
