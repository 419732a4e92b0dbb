"""Code in an answer is found, run, and judged; what is nobody's fault is no verdict."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import anyio
import pytest

from cot_distill import Distiller
from cot_distill.errors import ConfigError, SandboxUnavailableError
from cot_distill.identity import identity_of
from cot_distill.sandbox import LocalSandbox, Outcome, isolation, probe, probing
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Completion, Task, Trace, Verdict
from cot_distill.verifiers import unit_tests

needs_isolation = pytest.mark.skipif(isolation() == "none", reason="nothing can keep a program in here")

RIGHT = "def double(value):\n    return 2 * value\n"
WRONG = "def double(value):\n    return value\n"
TESTS = ["assert double(2) == 4", "assert double(0) == 0"]


def task(tests: Any = TESTS, **metadata: Any) -> Task:
    return Task(instruction="Write double(value).", tests=tests, metadata=metadata)


def judge(verify: Any, answer: str, *, asked: Task | None = None, reasoning: str = "Hm.") -> Verdict:
    verdict = anyio.run(verify, asked or task(), Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("unit_tests", "answer")
    return verdict


class Recorder:
    """Remembers what it was to run."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome = outcome or Outcome("passed", isolation="mine")
        self.calls: list[tuple[str, Any, float, int]] = []

    async def run(self, code: str, tests: Any, *, timeout: float, memory: int) -> Outcome:
        self.calls.append((code, tests, timeout, memory))
        return self.outcome


@pytest.fixture(scope="module")
def verify() -> Any:
    made = unit_tests(workers=1, timeout=20)
    yield made
    made.sandbox.close()


@needs_isolation
def test_right_and_wrong_code(verify: Any) -> None:
    right = judge(verify, f"Here it is:\n```python\n{RIGHT}```\nDone.")
    assert (right.passed, right.score, right.reason) == (True, 1.0, "all tests passed")
    wrong = judge(verify, f"```python\n{WRONG}```")
    assert (wrong.passed, wrong.score) == (False, 0.5)
    assert wrong.reason == "failed: test 1 of 2: double(2) == 4: 2 == 4 is false"


@needs_isolation
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("```python\ndef double(value): return value +\n```", "error: SyntaxError"),
        ("```python\nimport sys; sys.exit(0)\n```", "exited: the program left with status 0"),
        (
            "```python\ndef halve(value): return value / 2\n```",
            "error: test 1 of 2: the program does not define double",
        ),
        ("It cannot be done.", "there is no fenced block of Python"),
    ],
)
def test_what_is_wrong_is_said(verify: Any, answer: str, reason: str) -> None:
    verdict = judge(verify, answer)
    assert verdict.passed is False
    assert reason in (verdict.reason or "")


@needs_isolation
def test_only_the_answer_counts(verify: Any) -> None:
    assert judge(verify, f"```python\n{WRONG}```", reasoning=f"```python\n{RIGHT}```").passed is False
    assert judge(verify, RIGHT).passed is True


@needs_isolation
def test_programs_that_read_and_write(verify: Any) -> None:
    echo = task([{"input": "2\n", "output": "4"}, {"input": "5\n", "output": "10"}])
    assert judge(verify, "```python\nprint(2 * int(input()))\n```", asked=echo).passed is True
    assert judge(verify, "```python\nprint(2 + int(input()))\n```", asked=echo).score == 0.5
    assert judge(verify, "print(2 * int(input()))", asked=echo).passed is True


@needs_isolation
def test_the_metadata_say_what_is_tested(verify: Any) -> None:
    check = "def check(candidate):\n    assert candidate(2) == 4"
    code = f"```python\n{RIGHT}\ndef other(value): return 0\n```"
    assert judge(verify, code, asked=task(check)).passed is False
    assert judge(verify, code, asked=task(check, entry_point="double")).passed is True
    solution = (
        "```python\nclass Solution:\n    def add(self, items: List[int], by: int) -> int: return sum(items) + by\n```"
    )
    calls = task({"inputs": ["[1, 2]\n3"], "outputs": ["6"]}, fn_name="add")
    assert judge(verify, solution, asked=calls).passed is True


@pytest.mark.parametrize("tests", [None, "", [], {}])
def test_without_tests_there_is_nothing_to_judge(tests: Any) -> None:
    recorder = Recorder()
    verdict = judge(unit_tests(sandbox=recorder), RIGHT, asked=task(tests))
    assert (verdict.passed, verdict.applies, verdict.reason) == (None, False, "the task has no tests")
    assert not recorder.calls


@needs_isolation
@pytest.mark.parametrize(
    "tests", ["assert double(2) = 4", "double(2)", ["assert True"], [1, 2], {"inputs": ["1"], "outputs": []}]
)
def test_bad_tests_are_nobodys_fault(verify: Any, tests: Any) -> None:
    for code in (RIGHT, WRONG):
        verdict = judge(verify, f"```python\n{code}```", asked=task(tests))
        assert (verdict.passed, verdict.applies) == (None, True)
        assert verdict.reason
        assert verdict.reason.startswith("unverifiable: ")


# --- which block ---

MANY = "```python\ndef double(value): return 1\n```\nBetter:\n```python\ndef double(value): return 2\n```\n"


@pytest.mark.parametrize(
    ("answer", "tests", "code"),
    [
        (MANY, TESTS, "def double(value): return 2\n"),
        (MANY + "Use it:\n```python\nprint(double(3))\n```", TESTS, "def double(value): return 2\n"),
        (MANY + "```bash\npython double.py\n```\n```text\ndouble\n```", TESTS, "def double(value): return 2\n"),
        (MANY + "```\n>>> double(1)\n```", "1\n2", "def double(value): return 2\n"),
        ("```\ndef double(value): return 7\n```", TESTS, "def double(value): return 7\n"),
        ("```py\ndouble = lambda value: 7\n```\n```py\nx = 1\n```", TESTS, "double = lambda value: 7\n"),
        ("1. Step:\n   ```python\n   def double(value):\n       return 7\n   ```\n", TESTS,
         "def double(value):\n    return 7\n"),
        ("```python\nclass Box: pass\ndef double(value): return Box()\n```\n```python\nclass Box: pass\n```",
         "assert double(Box()) and Box", "class Box: pass\ndef double(value): return Box()\n"),
        ("```python\na = 1\n```\n```python\nb = 2\n```\n```json\n{}\n```", [("", "")], "b = 2\n"),
        ("```python\ndef double(value): return 2", TESTS, "def double(value): return 2"),
        ("def double(value): return 2", TESTS, "def double(value): return 2"),
    ],
)  # fmt: skip
def test_the_block_that_defines_what_is_tested_is_taken(answer: str, tests: Any, code: str) -> None:
    recorder = Recorder()
    judge(unit_tests(sandbox=recorder, timeout=3, memory=256), answer, asked=task(tests))
    ((taken, given, timeout, memory),) = recorder.calls
    assert taken == code.rstrip("\n") or taken == code
    assert (given, timeout, memory) == (tests, 3, 256)


# --- as a part ---


@pytest.mark.parametrize(
    ("status", "passed"),
    [("passed", True), ("failed", False), ("error", False), ("exited", False), ("timeout", False),
     ("output_limit", False), ("unverifiable", None), ("sandbox_error", None)],
)  # fmt: skip
def test_each_outcome_has_its_verdict(status: Any, passed: bool | None) -> None:
    recorder = Recorder(Outcome(status, "why", isolation="mine", score=0.25))
    verdict = judge(unit_tests(sandbox=recorder), RIGHT)
    assert (verdict.passed, verdict.applies, verdict.score) == (passed, True, 0.25)
    assert "why" in (verdict.reason or "")


def test_without_isolation_the_verdict_says_so() -> None:
    verify = unit_tests(execute_unsafely=True, workers=1)
    verdict = judge(verify, f"```python\n{RIGHT}```")
    assert verdict.passed is True
    assert verdict.reason == "all tests passed (executed without isolation)"
    assert "executed without isolation" in (judge(verify, f"```python\n{WRONG}```").reason or "")
    verify.sandbox.close()  # type: ignore[attr-defined]


def test_where_nothing_works_it_refuses_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in probe():
        monkeypatch.setitem(probing._found, name, "not here")
    with pytest.raises(SandboxUnavailableError, match="execute_unsafely"):
        judge(unit_tests(), RIGHT)
    teacher = ScriptedTeacher([Completion(reasoning="Hm.", content=RIGHT)])
    with pytest.raises(SandboxUnavailableError, match="not here"):
        Distiller(teacher, verifiers=[unit_tests()]).run([task()], tmp_path / "run", progress=False)


def test_settings_are_told_from_one_another() -> None:
    same = [unit_tests(), unit_tests(workers=1), pickle.loads(pickle.dumps(unit_tests()))]
    assert len({identity_of(verify) for verify in same}) == 1
    others = [
        unit_tests(timeout=1),
        unit_tests(memory=100),
        unit_tests(execute_unsafely=True),
        unit_tests(sandbox=Recorder()),
    ]
    assert len({identity_of(verify) for verify in (*same, *others)}) == 5
    with pytest.raises(ConfigError, match="of the sandbox that you give"):
        unit_tests(sandbox=LocalSandbox(), workers=2)


@needs_isolation
def test_a_copy_by_pickle_judges(verify: Any) -> None:
    copy = pickle.loads(pickle.dumps(verify))
    assert judge(copy, RIGHT).passed is True
    copy.sandbox.close()


@needs_isolation
@pytest.mark.anyio
async def test_it_starts_and_ends_with_its_block() -> None:
    verify = unit_tests(workers=1)
    async with verify:
        verdict = await verify(task(), Trace(reasoning="Hm.", answer=RIGHT))
        assert verdict.passed is True
    assert not verify.sandbox._pool._all  # type: ignore[attr-defined]


@needs_isolation
def test_in_a_run(tmp_path: Path) -> None:
    answers = [f"```python\n{RIGHT}```", f"```python\n{WRONG}```", "No idea."]
    teacher = ScriptedTeacher([Completion(reasoning="Hm.", content=answer) for answer in answers])
    verify = unit_tests(workers=2)
    tasks = [Task(id=number, instruction=f"Write double(value), {number}.", tests=TESTS) for number in range(3)]
    run = Distiller(teacher, verifiers=[verify], concurrency=1).run(tasks, tmp_path / "run", progress=False)
    assert [sample.passed for sample in run.samples()] == [True, False, False]
    assert not verify.sandbox._pool._all  # type: ignore[attr-defined]
