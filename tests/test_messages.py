"""What a person reads when something is wrong: one clear message each, and an exit status of 1.

Every case goes through the command line, since that is where the message stands alone.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cot_distill.__main__ import main
from cot_distill.run import Run
from cot_distill.testing import FaultServer

TASKS = '{"id": 1, "question": "one"}\n{"id": 2, "question": "two"}\n{"id": 3, "question": "three"}\n'


def message(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = main(arguments)
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert status == 1, lines
    assert len(errors) == 1, lines
    assert not any("Traceback" in line or "Group" in line for line in lines)
    return "\n".join(lines[lines.index(errors[0]) :]).removeprefix("error: ")


def asking(server: FaultServer, tmp_path: Path) -> list[str]:
    (tmp_path / "tasks.jsonl").write_text(TASKS)
    return [
        *("--teacher", "vllm", "--model", "some/model", "--base-url", server.base_url),
        *("--tasks", str(tmp_path / "tasks.jsonl"), "--out", str(tmp_path / "out")),
    ]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", r"vllm answered 401 .*incorrect API key.*key"),
        ("404", r"vllm answered 404 .*model does not exist.*model"),
        ("quota", r"vllm answered 429 .*quota.*(balance|quota)"),
    ],
)
def test_wrong_key_unknown_model_quota_gone(
    fault: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultServer(faults=lambda request: fault) as server:
        assert re.search(words, message(capsys, *asking(server, tmp_path)))


def test_a_server_without_reasoning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FaultServer(faults=lambda request: "no_reasoning") as server:
        text = message(capsys, *asking(server, tmp_path))
    assert text.startswith("vllm:some/model answered 3 times and no answer carries reasoning (neither ")
    assert "--reasoning-parser" in text
    assert "require_reasoning=False" in text


def test_a_server_that_is_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cot_distill.retry._LONGEST_WAIT", 0.01)
    monkeypatch.setattr("cot_distill.retry._backoff", lambda state: 0.01)
    with FaultServer() as server:
        arguments = asking(server, tmp_path)
    text = message(capsys, *arguments)
    assert text.startswith(f"cannot connect to {server.base_url.removesuffix('/v1')}: ")
    assert "(requests sent: 7). Is the server up, and is base_url right?" in text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("broken.jsonl", b'{"id": 1, "question": "one"}\n{"id": 2, "question": \n', r"broken\.jsonl, line 2: .*JSON"),
        ("list.jsonl", b'{"question": "one"}\n[1, 2]\n', r"list\.jsonl, line 2: .*object"),
        ("text.jsonl", b'{"question": "one"}\n{"question": "\xff"}\n', r"text\.jsonl, line 2: .*UTF-8"),
        ("blank.jsonl", b'{"question": "one"}\n{"question": " "}\n', r"blank\.jsonl, line 2: .*empty"),
        (
            "twice.jsonl",
            b'{"id": 1, "question": "a"}\n{"id": 1, "question": "b"}\n',
            r"twice\.jsonl, line 2: .*1.*line 1",
        ),
        ("columns.jsonl", b'{"foo": "one", "bar": 2}\n', r"columns\.jsonl.*foo.*bar"),
        ("empty.jsonl", b"", r"empty\.jsonl"),
        ("wide.csv", b"question,answer\none,1\ntwo,2,3\n", r"wide\.csv, line 3: "),
        ("cut.jsonl.gz", gzip.compress(TASKS.encode() * 999)[:-20], r"cut\.jsonl\.gz"),
        ("picture.png", b"\x89PNG", r"picture\.png.*\.jsonl"),
    ],
)
def test_input_that_cannot_be_read(
    name: str, content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with FaultServer() as server:
        arguments = [*asking(server, tmp_path), "--tasks", str(tmp_path / name)]
        assert re.search(words, message(capsys, *arguments))


def test_input_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--teacher", "vllm", "--model", "m", "--tasks", "openai/gsm8k", "--out", str(tmp_path)]
    text = message(capsys, *arguments)
    assert "openai/gsm8k" in text
    assert "sources.hub" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--teacher", "opnai", "--model", "m"], r"'opnai:m': there is no provider 'opnai'. Known: anthrop.*demo"),
        (["--teacher", "deepseek"], r"'deepseek' names no model: write deepseek:MODEL"),
        (
            ["--teacher", "deepseek", "--model", "m"],
            r"no key for deepseek: set DEEPSEEK_API_KEY.*Distiller\(.demo.\)",
        ),
        (
            ["--teacher", "vllm", "--model", "m", "--base-url", "localhost:8000"],
            r"base_url 'localhost:8000' must start",
        ),
    ],
)
def test_a_teacher_that_cannot_be_had(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    text = message(capsys, *arguments, "--out", str(tmp_path / "out"))
    assert re.search(words, text, re.DOTALL)
    assert not (tmp_path / "out").exists()


def test_tasks_of_ones_own_for_the_demo_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tasks.jsonl").write_text(TASKS)
    text = message(capsys, "--tasks", str(tmp_path / "tasks.jsonl"), "--out", str(tmp_path))
    assert text.startswith("the demo teacher solves only tasks that it makes itself: ")


def test_nothing_to_write_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FaultServer(faults=lambda request: "400") as server:
        text = message(capsys, *asking(server, tmp_path))
    assert re.search(
        r"out/run has no row to write: it has no samples; the first failure: too_long: vllm answered 400",
        text,
    )


def test_another_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FaultServer() as server:
        arguments = asking(server, tmp_path)
        assert main(arguments) == 0
        arguments[3] = "other/model"
        text = message(capsys, *arguments)
    assert re.search(r"the teacher was 'vllm:some/model' and is now 'vllm:other/model'\. Take another path", text)


def test_a_damaged_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FaultServer() as server:
        arguments = asking(server, tmp_path)
        assert main(arguments) == 0
        segment = tmp_path / "out" / "run" / "journal-00000.jsonl"
        segment.write_bytes(segment.read_bytes().replace(b'"attempt":0', b'"attempt:0 ', 1))
        (segment.parent / "journal.idx").unlink()
        text = message(capsys, *arguments)
    assert re.search(r"journal-00000\.jsonl is damaged at byte \d+: .*Restore", text)


def test_a_missing_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['zstandard'] = sys.modules['compression'] = None\n"
        "from cot_distill import writers\n"
        "writers.jsonl(sys.argv[1])([{'a': 1}])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.jsonl.zst")], capture_output=True, text=True
    )
    last = result.stderr.splitlines()[-1]
    assert re.search(r"MissingExtraError: .*pip install 'cot_distill\[zstd\]'", last)


def in_a_small_world(mount: str, tmp_path: Path, arguments: list[str]) -> str:
    """Run the command line on a file system of its own; return what it says. The run is left in ``kept``."""
    (tmp_path / "disk").mkdir()
    script = (
        f'mount -t tmpfs -o {mount} tmpfs disk && {{ "$0" -m cot_distill "$@"; s=$?; cp -r disk kept; exit $s; }}'
    )
    result = subprocess.run(
        [
            "unshare",
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            script,
            sys.executable,
            *arguments,
            "--out",
            "disk/out",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    if "unshare" in result.stderr or "mount:" in result.stderr:
        pytest.skip(f"no file system of our own to be had here: {result.stderr.strip()}")
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.partition("error: ")[2]


@pytest.mark.slow
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    with FaultServer(lambda prompt: (f"{prompt} " + "so it goes on " * 7000, "done")) as server:
        arguments = asking(server, tmp_path)
        lines = [json.dumps({"id": number, "question": f"question {number}"}) for number in range(300)]
        (tmp_path / "tasks.jsonl").write_text("\n".join(lines))
        text = in_a_small_world("size=30m", tmp_path, arguments)
    assert text == "cannot write to disk/out/run: No space left on device\n"
    # Every answer that was under way when the disk filled up came home, and is there.
    assert 60 < server.answered.total() < 200
    samples = list(Run.open(tmp_path / "kept" / "out" / "run").samples())
    assert {sample.task.instruction for sample in samples} == set(server.answered)


@pytest.mark.slow
def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    with FaultServer() as server:
        text = in_a_small_world("ro,size=1m", tmp_path, asking(server, tmp_path))
    assert text == "cannot write to disk/out/run: Read-only file system\n"
