"""The types that users rely on: code of theirs passes ``mypy --strict``, and mistakes in it do not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed: pip install 'cot_distill[dev]'"
)

USER_CODE = Path(__file__).parent / "typing" / "user_code.py"

MISTAKES = """
from pathlib import Path

from cot_distill import Completion, Distiller, Message, Run, Sample, Task, Trace, Verdict, writers


class Nameless:
    async def complete(self, messages: list[Message], sampling: object, /) -> Completion:
        return Completion()


class Blocking:
    name = "blocking"

    def complete(self, messages: object, sampling: object, /) -> Completion:
        return Completion()


def bare(task: Task, trace: Trace) -> bool:
    return True


def text(task: Task) -> str:
    return task.instruction


def formatter(sample: Sample) -> str:
    return sample.trace.answer


def mistakes(run: Run) -> None:
    Distiller(Nameless())  # line
    Distiller(Blocking())  # line
    Distiller("demo", verifiers=[bare])  # line
    Distiller("demo", template=text)  # line
    Distiller("demo", concurrency="many")  # line
    Distiller("demo", temperature=0.6)  # line
    run.to_jsonl("rows.jsonl", formatter=formatter)  # line
    number: int = run.export(writers.jsonl("rows.jsonl"))  # line
    Verdict(by="v")  # line
"""


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says of both files, run as a user runs it: strict, from elsewhere, with nothing of our settings."""
    folder = tmp_path_factory.mktemp("mypy")
    (folder / "mistakes.py").write_text(MISTAKES)
    (folder / "mypy.ini").write_text("[mypy]\nstrict = True\nwarn_unreachable = True\nplugins = pydantic.mypy\n")
    cache = USER_CODE.parents[2] / ".mypy_cache" / "user_code"  # mypy takes 8 s without a cache, 2 s with one
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        "mypy.ini",
        "--no-error-summary",
        "--cache-dir",
        str(cache),
    ]
    result = subprocess.run([*command, str(USER_CODE), "mistakes.py"], capture_output=True, text=True, cwd=folder)
    assert result.returncode == 1, result.stderr  # 0 would be: no mistake was found; 2: mypy itself failed
    return result.stdout.splitlines()


@pytest.mark.slow
def test_code_of_users_type_checks(complaints: list[str]) -> None:
    assert [line for line in complaints if not line.startswith("mistakes.py")] == []


@pytest.mark.slow
def test_mistakes_of_users_are_found(complaints: list[str]) -> None:
    found = {int(line.split(":")[1]) for line in complaints if line.startswith("mistakes.py") and ": error: " in line}
    expected = [number for number, line in enumerate(MISTAKES.splitlines(), 1) if line.endswith("# line")]
    assert sorted(found) == expected, "\n".join(complaints)
