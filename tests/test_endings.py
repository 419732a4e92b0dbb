"""Whatever ends a session early: what is under way comes home, and what was wrong can be mended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from cot_distill import Budget, Distiller, RateLimit, Sampling, Task, ThinkTags, Trace, Verdict
from cot_distill.errors import (
    ConfigError,
    QuotaError,
    RequestError,
    RunError,
    SourceError,
    TraceError,
    UnavailableError,
    VerifierError,
)
from cot_distill.run import Run
from cot_distill.teachers import open_teacher
from cot_distill.testing import FaultServer, ScriptedTeacher
from cot_distill.types import Completion, Message, Usage

pytestmark = pytest.mark.anyio


def tasks(number: int) -> list[Task]:
    return [Task(id=n, instruction=f"question {n}") for n in range(number)]


def whole(usage: Usage | None = None) -> Completion:
    return Completion(reasoning="r", content="a", trace_kind="full", usage=usage or Usage())


def number_of(messages: Sequence[Message]) -> int:
    return int(messages[-1].content.split()[-1])


class Teacher:
    """Answers slowly, and does something else for chosen questions."""

    name = "teacher"

    def __init__(self, seconds: float, **odd: Exception) -> None:
        self.seconds = seconds
        self.odd = {int(name.removeprefix("q")): error for name, error in odd.items()}
        self.asked: list[int] = []

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        number = number_of(messages)
        self.asked.append(number)
        if number in self.odd:
            await anyio.sleep(self.seconds / 4)
            raise self.odd[number]
        await anyio.sleep(self.seconds)
        return whole()


def kept(path: Path) -> list[object]:
    return [sample.task.id for sample in Run.open(path).samples()]


async def test_a_request_that_waits_to_be_repeated_gives_up_at_once(tmp_path: Path) -> None:
    """It must not cancel the answers under way either."""
    waiting = UnavailableError("later", retry_after=None, status=500)
    teacher = Teacher(0.4, q1=waiting, q2=QuotaError("the balance is used up"))
    started = time.monotonic()
    with pytest.raises(QuotaError, match="balance"):
        await Distiller(teacher, concurrency=3, retries=50).arun(tasks(9), tmp_path / "run", progress=False)
    assert time.monotonic() - started < 2
    assert kept(tmp_path / "run") == [0]


async def test_a_broken_row_does_not_cost_the_answers_under_way(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(f'{{"id": {n}, "question": "question {n}"}}\n' for n in range(4)) + "{broken\n")
    teacher = Teacher(0.2)
    for _ in range(2):
        with pytest.raises(SourceError, match="line 5"):
            await Distiller(teacher, concurrency=8).arun(path, tmp_path / "run", progress=False)
    assert kept(tmp_path / "run") == [0, 1, 2, 3]
    assert len(teacher.asked) == 4


async def test_an_error_of_the_template_comes_out_as_it_is_and_costs_no_answer(tmp_path: Path) -> None:
    def template(task: Task) -> Sequence[Message]:
        if task.id == 3:
            raise LookupError("mine")
        return task.prompt()

    with pytest.raises(LookupError, match="mine"):
        await Distiller(Teacher(0.2), template=template, concurrency=8).arun(
            tasks(9), tmp_path / "run", progress=False
        )
    assert kept(tmp_path / "run") == [0, 1, 2]


async def test_reasoning_in_other_tags_is_not_asked_for_again_once_they_are_named(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: "[THINK]r[/THINK]a", latency=0.02)
    path = tmp_path / "run"
    with pytest.raises(TraceError, match=r"there is \[/THINK\]: pass tags=ThinkTags"):
        await Distiller(teacher, concurrency=16).arun(tasks(40), path, progress=False)
    asked = len(teacher.calls)
    assert asked <= 2 * 16
    tags = ThinkTags(open="[THINK]", close="[/THINK]")
    await Distiller(teacher, concurrency=16, tags=tags).arun(tasks(40), path, progress=False)
    assert len(teacher.calls) == 40
    assert len(kept(path)) == 40


async def test_what_was_asked_without_a_single_answer_binds_nobody(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with FaultServer(faults=["404"] * 8) as server:
        with pytest.raises(Exception, match="model"):
            await Distiller(open_teacher("vllm:typo", base_url=server.base_url), concurrency=1).arun(
                tasks(3), path, progress=False
            )
        right = open_teacher("vllm:right", base_url=server.base_url)
        server_is_mended = Distiller(right, sampling=Sampling(temperature=0.5), retries=0, concurrency=1)
        with pytest.raises(Exception, match="model"):  # the script of faults goes on for a while
            await server_is_mended.arun(tasks(3), path, progress=False)
    with FaultServer() as server:
        right = open_teacher("vllm:right", base_url=server.base_url)
        run = await Distiller(right, sampling=Sampling(temperature=0.5)).arun(tasks(3), path, progress=False)
    assert len(kept(path)) == 3
    assert run.recipe.teacher == "vllm:right"


async def test_a_setting_that_is_refused_stops_the_run_and_can_be_mended(tmp_path: Path) -> None:
    def script(messages: Sequence[Message]) -> object:
        return (
            RequestError("no such parameter")
            if teacher.calls[-1].sampling.extra
            else Trace(reasoning="r", answer="a")
        )

    teacher = ScriptedTeacher(script)
    path = tmp_path / "run"
    with pytest.raises(RequestError, match=r"not one of the first requests was accepted\. no such parameter"):
        await Distiller(teacher, sampling=Sampling(extra={"x": 1}), concurrency=2).arun(
            tasks(100), path, progress=False
        )
    assert len(teacher.calls) <= 12
    await Distiller(teacher, concurrency=2).arun(tasks(20), path, progress=False)
    assert len(kept(path)) == 20


async def test_a_budget_lets_as_many_run_at_once_as_it_can_pay_for_and_goes_on(tmp_path: Path) -> None:
    usage = Usage(prompt_tokens=10, completion_tokens=40)
    teacher = ScriptedTeacher(lambda _: whole(usage), latency=0.002)
    distiller = Distiller(teacher, sampling=Sampling(max_tokens=1000), budget=Budget(tokens=5000), concurrency=64)
    with pytest.raises(RunError, match="budget is reached"):
        await distiller.arun(tasks(500), tmp_path / "run", progress=False)
    spent = 50 * len(kept(tmp_path / "run"))
    assert 5000 - 1350 < spent <= 5000


async def test_a_provider_that_does_not_count_is_charged_the_worst_case_in_every_session(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: whole())
    distiller = Distiller(teacher, sampling=Sampling(max_tokens=1000), budget=Budget(tokens=5000), concurrency=4)
    for _ in range(3):
        with pytest.raises(RunError, match="budget is reached"):
            await distiller.arun(tasks(500), tmp_path / "run", progress=False)
    assert len(teacher.calls) == 3


async def test_a_budget_holds_for_streams_too(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: whole(Usage(prompt_tokens=10, completion_tokens=90)))
    distiller = Distiller(teacher, sampling=Sampling(max_tokens=100), budget=Budget(tokens=1000))
    with pytest.raises(RunError, match="budget is reached"):
        async with distiller.stream(tasks(500)) as outcomes:
            async for _ in outcomes:
                pass
    assert len(teacher.calls) <= 10
    with pytest.raises(RunError, match="budget is reached"):
        await distiller.attempt(tasks(1)[0])


async def test_requests_that_wait_for_their_turn_are_not_sent_after_the_end(tmp_path: Path) -> None:
    teacher = Teacher(0.01, q0=QuotaError("used up"))
    distiller = Distiller(teacher, rate_limit=RateLimit(requests_per_minute=60), concurrency=8)
    started = time.monotonic()
    with pytest.raises(QuotaError):
        await distiller.arun(tasks(50), tmp_path / "run", progress=False)
    assert time.monotonic() - started < 1
    assert teacher.asked == [0]


async def test_an_odd_token_count_does_not_spoil_the_directory(tmp_path: Path) -> None:
    usage = Usage(completion_tokens=2**40)
    odd = Completion(reasoning="r", finish_reason="length", usage=usage)
    teacher = ScriptedTeacher(lambda messages: odd if number_of(messages) else whole())
    for _ in range(2):
        run = await Distiller(teacher).arun(tasks(3), tmp_path / "run", progress=False)
    assert run.report().failures == {"truncated": 2}
    assert len(teacher.calls) == 3


async def test_text_that_is_not_unicode_is_a_failure_of_that_attempt(tmp_path: Path) -> None:
    odd = Completion(reasoning="half a pair: \ud83d", content="a")
    teacher = ScriptedTeacher(lambda messages: odd if number_of(messages) == 1 else whole())
    run = await Distiller(teacher).arun(tasks(3), tmp_path / "run", progress=False)
    assert run.report().failures == {"malformed": 1}


class Strict:
    """Two verifiers of one class, with different settings."""

    def __init__(self, passed: bool) -> None:
        self.passed = passed

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        return Verdict(by="strict", passed=self.passed)


async def test_a_verifier_that_was_mended_judges_anew(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: whole())

    def first(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="mine", passed=False)

    def second(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="mine", passed=True)

    second.__name__ = "first"
    for pair in ((first, second), (Strict(False), Strict(True))):
        for judge, passed in zip(pair, (False, True), strict=True):
            run = await Distiller(teacher, verifiers=[judge]).arun(tasks(3), tmp_path / "run", progress=False)
            assert [sample.passed for sample in run.samples()] == [passed] * 3
    assert len(teacher.calls) == 3


async def test_answers_without_a_trace_are_not_counted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def right(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="right", passed=True)

    teacher = ScriptedTeacher(lambda messages: whole() if number_of(messages) % 2 else "<think>broken")
    for _ in range(3):
        await Distiller(teacher, verifiers=[right]).arun(tasks(10), tmp_path / "run")
    lines = capsys.readouterr().err.splitlines()
    assert "10 of 10 attempts: 5 failed, 5 samples (5 passed, 0 wrong), 15 tokens" in lines[0]
    assert lines[1:] == ["cot_distill: 10 of 10 attempts: 0 failed, 0 samples, 10 from earlier, 0 tokens, 0.0/s"] * 2
    await Distiller(teacher, verifiers=[right]).arun(tasks(2), tmp_path / "run")
    assert "2 of 2 attempts" in capsys.readouterr().err


async def test_a_run_that_is_going_on_is_not_called_dead(tmp_path: Path) -> None:
    reports = []

    class Looking(Teacher):
        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            reports.append(Run.open(tmp_path / "run").report())
            return await super().complete(messages, sampling)

    await Distiller(Looking(0), concurrency=1).arun(tasks(2), tmp_path / "run", progress=False)
    assert [(report.running, report.killed, report.abandoned) for report in reports] == [(True, 0, 0)] * 2
    assert "still running" in str(reports[1])
    assert not Run.open(tmp_path / "run").report().running


async def test_an_answer_that_a_verifier_crashed_on_is_never_asked_for_again(tmp_path: Path) -> None:
    def picky(task: Task, trace: Trace) -> Verdict:
        if task.id == 1:
            raise ValueError("odd")
        return Verdict(by="picky", passed=True)

    teacher = ScriptedTeacher(lambda _: whole())
    run = await Distiller(teacher, verifiers=[picky]).arun(tasks(3), tmp_path / "run", progress=False)
    assert run.report().failures == {"verifier_error": 1}
    assert run.reask() == 0


async def test_tasks_that_break_a_working_server_do_not_end_the_run(tmp_path: Path) -> None:
    broken = UnavailableError("500", status=500, retry_after=0)
    teacher = ScriptedTeacher(lambda messages: broken if number_of(messages) >= 20 else whole())
    for _ in range(2):
        run = await Distiller(teacher, concurrency=4, retries=1).arun(tasks(32), tmp_path / "run", progress=False)
        assert run.report().failures == {"http": 12}


async def test_verifiers_that_worked_before_are_trusted(tmp_path: Path) -> None:
    def picky(task: Task, trace: Trace) -> Verdict:
        if int(task.id) >= 5:
            raise ValueError("odd")
        return Verdict(by="picky", passed=True)

    teacher = ScriptedTeacher(lambda _: whole())
    for number in (10, 10, 12):
        run = await Distiller(teacher, verifiers=[picky], concurrency=1).arun(
            tasks(number), tmp_path / "run", progress=False
        )
        assert run.report().failures == {"verifier_error": number - 5}


async def test_judging_with_a_broken_verifier_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    def broken(task: Task, trace: Trace) -> Verdict:
        raise ValueError("bug")

    def right(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="right", passed=True)

    teacher = ScriptedTeacher(lambda _: whole())
    run = await Distiller(teacher, verifiers=[right]).arun(tasks(9), tmp_path / "run", progress=False)
    with pytest.raises(VerifierError):
        run.judge(broken)
    assert run.report().passed == 9
    with pytest.raises(ConfigError, match="at least one verifier"):
        run.judge()


async def test_tasks_that_moved_keep_their_attempts_together(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: whole())
    first, second = tasks(2)
    await Distiller(teacher).arun([first, second], tmp_path / "run", progress=False)
    run = await Distiller(teacher, attempts=2).arun([second, first], tmp_path / "run", progress=False)
    assert [(sample.task.id, sample.attempt) for sample in run.samples()] == [(1, 0), (1, 1), (0, 0), (0, 1)]
    assert run.report().tasks == 2


@pytest.mark.parametrize("key", ["sk-secret-1234\nx", "sk-secret\u200b1234"])
async def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="'Authorization' holds a character") as caught:
        open_teacher("vllm:m", api_key=key)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.__context__)


STDERR = """
import sys
from cot_distill import Distiller
from cot_distill.testing import ScriptedTeacher
teacher = ScriptedTeacher(lambda messages: ("r", "a"))
Distiller(teacher).run([str(n) for n in range(300)], sys.argv[1], progress=eval(sys.argv[2]))
"""


@pytest.mark.parametrize("shell", ['"$0" "$@" 2>&-', '"$0" "$@" 2> >(head -c 10 > /dev/null)'])
@pytest.mark.parametrize("progress", ["None", "True"])
def test_a_run_outlives_its_standard_error(shell: str, progress: str, tmp_path: Path) -> None:
    command = ["bash", "-c", shell, sys.executable, "-c", STDERR, str(tmp_path / "run"), progress]
    subprocess.run(command, timeout=60, check=True)
    assert Run.open(tmp_path / "run").report().samples == 300


INTERRUPTED = """
import sys
from cot_distill import Distiller
from cot_distill.testing import ScriptedTeacher
teacher = ScriptedTeacher(lambda messages: ("r", "a"), latency=0.2)
try:
    print("ready", flush=True)
    Distiller(teacher).run([str(n) for n in range(9999)], sys.argv[1], progress=False)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.015])
def test_ctrl_c_while_a_run_begins_does_not_hang(delay: float, tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == "interrupted\n"
