"""Runs that ask through batch jobs, against a provider on this machine that is as strict as the real ones."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from cot_distill import Distiller, Sampling, Task, Verdict, open_teacher
from cot_distill.batch import calls, facts, submitting, wire
from cot_distill.batch.jobs import open_jobs
from cot_distill.batching import run_batch
from cot_distill.errors import (
    AuthError,
    ConfigError,
    QuotaError,
    RequestError,
    RunError,
    TraceError,
    UnavailableError,
)
from cot_distill.limits import Budget
from cot_distill.loopback import LoopbackServer, Reply
from cot_distill.run import Run
from cot_distill.testing.batch_server import BatchServer, Dialect, Fate

DIALECTS: tuple[Dialect, ...] = ("openai", "azure", "groq", "mistral", "together", "dashscope", "anthropic")
FAMILIES: tuple[Dialect, ...] = ("openai", "anthropic")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real waiting times, a hundred times as short."""
    monkeypatch.setattr(submitting, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(calls, "_FIRST_PAUSE", 0.02)


def tasks(number: int) -> list[Task]:
    return [Task(id=n, instruction=f"question {n}", answer=str(n)) for n in range(number)]


def distiller(server: BatchServer, key: str | None = None, **options: Any) -> Distiller:
    return Distiller(open_teacher(server.spec, base_url=server.base_url, api_key=key or server.key), **options)


def batch(which: Distiller, source: Any, path: Path, **options: Any) -> Run:
    anyio.run(lambda: run_batch(which._settings, source, path, progress=False, **options))
    return Run.open(path)


def small_jobs(monkeypatch: pytest.MonkeyPatch, dialect: str, **limits: int) -> None:
    """Let a job of this provider hold no more than so much."""
    monkeypatch.setattr(wire, "FACTS", {**facts.FACTS, dialect: replace(facts.FACTS[dialect], **limits)})


def by_prompt(**fates: Fate) -> Callable[[str], Fate]:
    return lambda prompt: fates.get(f"q{prompt.split()[1]}", "answered")


def records(path: Path, kind: str) -> list[dict[str, Any]]:
    lines = (path / "journal-00000.jsonl").read_bytes().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_batch_gives_the_same_run_as_asking_at_once(dialect: Dialect, tmp_path: Path) -> None:
    source = tasks(7)
    with BatchServer(dialect, delay=0.1, strays=True) as server:
        run = batch(distiller(server, attempts=2), source, tmp_path / "batch")
        assert len(server.submissions) == 1
        assert sorted(server.prompts) == sorted(2 * [task.instruction for task in source])
        plain = distiller(server, attempts=2).run(source, tmp_path / "plain", progress=False)
        assert len(server.asked) == 14
        found, expected = list(run.samples()), list(plain.samples())
        assert [one.model_copy(update={"latency": None}) for one in expected] == found
        assert [(one.task.id, one.attempt) for one in found] == [(n, a) for n in range(7) for a in range(2)]
        # Neither a batch nor a plain run on the same path asks anything more.
        batch(distiller(server, attempts=2), source, tmp_path / "batch")
        distiller(server, attempts=2).run(source, tmp_path / "batch", progress=False)
        assert (len(server.submissions), len(server.asked)) == (1, 14)
    assert open_jobs(tmp_path / "batch") == []
    assert [file.name for file in (tmp_path / "batch" / "batches").iterdir()] == ["jobs.jsonl"]


@pytest.mark.parametrize("dialect", FAMILIES)
def test_what_goes_wrong_with_a_line_is_a_failure_of_its_own(
    dialect: Dialect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fates = by_prompt(q0="400", q1="429", q2="500", q3="cut", q4="malformed", q5="filtered", q6="surrogate")
    with BatchServer(dialect, fate=fates, strays=True) as server:
        which = distiller(server)
        with caplog.at_level(logging.WARNING, "cot_distill"):
            run = batch(which, tasks(9), tmp_path / "run")
        kinds = {failure.task.id: failure.kind for failure in run.failures()}
        assert kinds == {
            0: "bad_request",
            1: "rate_limited",
            2: "http",
            3: "truncated",
            4: "malformed",
            5: "refused",
            6: "malformed",
        }
        assert [sample.task.id for sample in run.samples()] == [7, 8]
        assert "2 lines of its results are not ours" in caplog.text
        report = run.report()
        assert (report.asked, report.samples) == (9, 2)
        assert report.sessions == 1
        # What found no answer is asked again by the next session, whichever way; what was refused is not.
        which.run(tasks(9), tmp_path / "run", progress=False)
        assert sorted(server.asked) == ["question 1", "question 2", "question 4", "question 6"]
        assert len(server.submissions) == 1


@pytest.mark.parametrize("dialect", FAMILIES)
@pytest.mark.parametrize("ending", ["expired", "cancelled"])
def test_a_job_that_was_stopped_keeps_its_finished_lines(dialect: Dialect, ending: Any, tmp_path: Path) -> None:
    with BatchServer(dialect, endings=[ending, ending]) as server:
        run = batch(distiller(server), tasks(8), tmp_path / "run")
        assert [len(one.prompts) for one in server.submissions] == [8, 4, 2]
        assert set(server.submissions[1].prompts) == {f"question {n}" for n in range(4, 8)}
    assert [sample.task.id for sample in run.samples()] == list(range(8))
    assert len(records(tmp_path / "run", "completion")) == 8


@pytest.mark.parametrize("dialect", FAMILIES)
def test_lines_that_never_came_back_are_asked_again(dialect: Dialect, tmp_path: Path) -> None:
    with BatchServer(dialect) as server:
        server._fate = lambda prompt: (
            "missing" if len(server.submissions) == 1 and prompt < "question 2" else "answered"
        )
        run = batch(distiller(server), tasks(5), tmp_path / "run")
        assert [sorted(one.prompts) for one in server.submissions[1:]] == [["question 0", "question 1"]]
    assert [sample.task.id for sample in run.samples()] == list(range(5))


@pytest.mark.parametrize("dialect", FAMILIES)
def test_a_job_that_brings_nothing_is_not_asked_again_and_again(dialect: Dialect, tmp_path: Path) -> None:
    with BatchServer(dialect, endings=["nothing"]) as server:
        with pytest.raises(UnavailableError, match=r"batch-1 ended as .* and brought nothing"):
            batch(distiller(server), tasks(3), tmp_path / "run")
        assert len(server.submissions) == 1
        run = batch(distiller(server), tasks(3), tmp_path / "run")
        assert len(server.submissions) == 2
    assert len(list(run.samples())) == 3


def test_a_job_that_was_refused_as_a_whole_says_why(tmp_path: Path) -> None:
    with BatchServer("openai", endings=["failed"]) as server:
        with pytest.raises(RequestError, match="line 1 is no request"):
            batch(distiller(server), tasks(3), tmp_path / "run")
        assert len(list(batch(distiller(server), tasks(3), tmp_path / "run").samples())) == 3


@pytest.mark.parametrize("dialect", FAMILIES)
def test_more_than_fits_is_split(dialect: Dialect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch, dialect, lines=4)
    with BatchServer(dialect, delay=0.3, endings=["expired"]) as server:
        run = batch(distiller(server), tasks(10), tmp_path / "run")
        assert [len(one.prompts) for one in server.submissions] == [4, 4, 2, 2]
    assert [sample.task.id for sample in run.samples()] == list(range(10))


@pytest.mark.parametrize("dialect", FAMILIES)
def test_no_file_is_larger_than_the_limit(dialect: Dialect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch, dialect, size=1500)
    source = [*tasks(12), Task(id="ü", instruction="ü" * 300), Task(id="big", instruction="x" * 2000)]
    with BatchServer(dialect) as server:
        run = batch(distiller(server), source, tmp_path / "run")
        sizes = [one.size for one in server.submissions]
        assert max(sizes) <= 1500
        assert sum(sizes[:-1]) / len(sizes[:-1]) > 750  # and no more files than it takes
    assert [failure.task.id for failure in run.failures()] == ["big"]
    assert {failure.kind for failure in run.failures()} == {"too_long"}
    assert len(list(run.samples())) == 13


def test_one_line_may_have_a_limit_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_jobs(monkeypatch, "dashscope", line_size=400)
    with BatchServer("dashscope") as server:
        run = batch(distiller(server), [*tasks(2), Task(id="big", instruction="x" * 500)], tmp_path / "run")
    assert [failure.kind for failure in run.failures()] == ["too_long"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_wrong_key_ends_it_at_once(dialect: Dialect, tmp_path: Path) -> None:
    with BatchServer(dialect) as server:
        with pytest.raises(AuthError) as failed:
            batch(distiller(server, key="sk-some-wrong-key"), tasks(3), tmp_path / "run")
        assert "sk-some-wrong-key" not in str(failed.value)
        assert server.submissions == []
        assert len(list(batch(distiller(server), tasks(3), tmp_path / "run").samples())) == 3
    for file in (tmp_path / "run").rglob("*"):
        assert file.is_dir() or server.key.encode() not in file.read_bytes()


@pytest.mark.parametrize("dialect", FAMILIES)
def test_a_fatal_error_in_a_line_ends_it_and_keeps_the_rest(dialect: Dialect, tmp_path: Path) -> None:
    with BatchServer(dialect, fate=by_prompt(q1="401")) as server:
        with pytest.raises(AuthError):
            batch(distiller(server), tasks(3), tmp_path / "run")
        run = Run.open(tmp_path / "run")
        assert [sample.task.id for sample in run.samples()] == [0, 2]
        assert list(run.failures()) == []
        distiller(server).run(tasks(3), tmp_path / "run", progress=False)
        assert server.asked == ["question 1"]


@pytest.mark.parametrize("dialect", FAMILIES)
def test_a_setting_that_nothing_takes_may_be_mended(dialect: Dialect, tmp_path: Path) -> None:
    with BatchServer(dialect, fate=lambda _: "400") as server, pytest.raises(RequestError, match="Unsupported"):
        batch(distiller(server), tasks(3), tmp_path / "run")
    with BatchServer(dialect) as server:
        which = distiller(server, sampling=Sampling(temperature=0.5))
        teacher = which.teacher
        teacher.name = f"{server.spec}@elsewhere"  # type: ignore[misc]
        batch(which, tasks(3), tmp_path / "run")
        assert len(server.prompts) == 3


@pytest.mark.parametrize("dialect", ["openai", "mistral", "together", "anthropic"])
@pytest.mark.parametrize("late", [0.0, 0.1])
def test_a_job_whose_reply_was_lost_is_found_again(dialect: Dialect, late: float, tmp_path: Path) -> None:
    """Among jobs of other runs, of which one is as large as ours and was started after it."""
    with BatchServer(dialect, late=late, delay=0.3) as server:
        for other in range(3):
            batch(distiller(server), tasks(4), tmp_path / f"other-{other}")
        stranger = replace(server.submissions[0], id="a-stranger", created=time.monotonic(), file="file-of-others")
        started, server._lost = server._started, 1

        def with_stranger(said: dict[str, Any]) -> Any:
            if stranger not in server.submissions:
                server.submissions.append(stranger)
            return started(said)

        server._started = with_stranger  # type: ignore[method-assign]
        run = batch(distiller(server), tasks(4), tmp_path / "run")
        assert len(server.submissions) == 5
        assert server._lost == 0
        job = server.submissions[3]
    assert len(list(run.samples())) == 4
    assert job.id.encode() in (tmp_path / "run" / "batches" / "jobs.jsonl").read_bytes()


def test_verifiers_judge_what_came(tmp_path: Path) -> None:
    def even(task: Task, trace: Any) -> Verdict:
        return Verdict(by="even", passed=int(task.id) % 2 == 0, about="answer")

    with BatchServer("openai", fate=by_prompt(q3="500")) as server:
        run = batch(distiller(server, verifiers=[even]), tasks(6), tmp_path / "run")
        assert [sample.passed for sample in run.samples()] == [True, False, True, True, False]
        assert len(records(tmp_path / "run", "verdict")) == 5
        distiller(server, verifiers=[even]).run(tasks(6), tmp_path / "run", progress=False)
        assert len(records(tmp_path / "run", "verdict")) == 6  # a plain run takes these verdicts for its own
        assert server.asked == ["question 3"]
        # Another verifier judges all of it and asks nothing.
        batch(distiller(server, verifiers=[lambda task, trace: Verdict(by="b", passed=True)]), tasks(6), run.path)
        assert all(sample.verdicts[0].by == "b" for sample in run.samples())
        assert len(server.submissions) == 1
        # A reference answer that was corrected is taken over.
        corrected = [task.model_copy(update={"answer": "new"}) for task in tasks(6)]
        batch(distiller(server, verifiers=[even]), corrected, run.path)
        assert {sample.task.answer for sample in Run.open(run.path).samples()} == {"new"}
        assert len(server.submissions) == 1


@pytest.mark.parametrize("dialect", FAMILIES)
def test_answers_without_reasoning_end_it_before_more_is_paid_for(dialect: Dialect, tmp_path: Path) -> None:
    with BatchServer(dialect, fate=lambda _: "no_reasoning") as server:
        with pytest.raises(TraceError, match="no answer carries reasoning"):
            batch(distiller(server), tasks(3), tmp_path / "run")
        run = batch(distiller(server, require_reasoning=False), tasks(3), tmp_path / "run")
        assert run.report().failures == {"no_reasoning": 3}
        assert len(server.submissions) == 1


def test_what_was_cut_is_asked_again_with_a_higher_cap(tmp_path: Path) -> None:
    with BatchServer("openai", fate=by_prompt()) as server:
        run = batch(distiller(server, sampling=Sampling(max_tokens=3)), tasks(3), tmp_path / "run")
        assert run.report().failures == {"truncated": 3}
        batch(distiller(server, sampling=Sampling(max_tokens=3)), tasks(3), tmp_path / "run")
        assert len(server.submissions) == 1
        run = batch(distiller(server, sampling=Sampling(max_tokens=900)), tasks(3), tmp_path / "run")
        assert (len(server.submissions), run.report().failures) == (2, {})


@pytest.mark.parametrize("dialect", FAMILIES)
def test_the_ladder_asks_what_was_cut_again_with_more_room(dialect: Dialect, tmp_path: Path) -> None:
    def answer(prompt: str) -> tuple[str, str]:
        return "thought " * (20 if prompt < "question 2" else 1), "done"

    with BatchServer(dialect, answer=answer, endings=["completed", "expired"]) as server:
        sampling = Sampling(max_tokens=8, max_tokens_limit=30)
        run = batch(distiller(server, sampling=sampling), tasks(4), tmp_path / "run")
        caps = [
            (body.get("max_completion_tokens") or body["max_tokens"], len(one.prompts))
            for one in server.submissions
            for body in [one.lines[0]["body"]]
        ]
        # One of the two that ask with 16 expires. What was cut at 16 and what was left at 16 share the third job.
        assert caps in ([(8, 4), (16, 2), (30, 2), (30, 1)], [(8, 4), (16, 2), (16, 2), (30, 1)])
        assert run.report().failures == {"truncated": 2}
        batch(distiller(server, sampling=sampling), tasks(4), tmp_path / "run")
        assert len(server.submissions) == 4
        more = Sampling(max_tokens=8, max_tokens_limit=100)
        assert batch(distiller(server, sampling=more), tasks(4), tmp_path / "run").report().failures == {}
        assert [len(one.prompts) for one in server.submissions[4:]] == [2]
        assert len(list(run.samples())) == 4


def test_seeds_move_with_the_attempt(tmp_path: Path) -> None:
    with BatchServer("openai") as server:
        batch(distiller(server, attempts=3, sampling=Sampling(seed=5)), tasks(1), tmp_path / "run")
        assert [line["body"]["seed"] for line in server.submissions[0].lines] == [5, 6, 7]


def test_a_budget_holds(tmp_path: Path) -> None:
    sampling = Sampling(max_tokens=100)
    with BatchServer("openai") as server:
        with pytest.raises(RunError, match="the budget is reached"):
            batch(distiller(server, sampling=sampling), tasks(20), tmp_path / "run", budget=Budget(tokens=600))
        report = Run.open(tmp_path / "run").report()
        assert 0 < report.samples < 20
        assert report.prompt_tokens + report.completion_tokens <= 600
        assert len(server.submissions) > 1  # what a job did not use goes into the next one
        assert all(len(one.prompts) * 100 <= 600 for one in server.submissions)
        batch(distiller(server, sampling=sampling), tasks(20), tmp_path / "run", budget=Budget(tokens=100_000))
        assert sorted(server.prompts) == sorted(task.instruction for task in tasks(20))


def test_who_takes_no_jobs_is_told_who_does(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vllm:m takes no batch jobs: anthropic, azure, dashscope, groq, mistral"):
        batch(Distiller(open_teacher("vllm:m")), tasks(1), tmp_path / "run")
    with pytest.raises(ConfigError, match="demo takes no batch jobs"):
        batch(Distiller("demo"), tasks(1), tmp_path / "run")
    with pytest.raises(ConfigError, match="not to dollars"):
        batch(Distiller(open_teacher("openai:m", api_key="k")), tasks(1), tmp_path / "run", budget=Budget(usd=1))
    which = Distiller(open_teacher("openai:m", api_key="k"), verifiers=[lambda *_: None], attempts=2, until_passed=1)
    with pytest.raises(ConfigError, match="until_passed"):
        batch(which, tasks(1), tmp_path / "run")


@pytest.mark.parametrize("dialect", FAMILIES)
def test_a_job_that_the_provider_does_not_know_is_no_reason_to_ask_again(dialect: Dialect, tmp_path: Path) -> None:
    with BatchServer(dialect) as server:
        batch(distiller(server), tasks(1), tmp_path / "run")
        book = tmp_path / "run" / "batches" / "jobs.jsonl"
        book.write_bytes(book.read_bytes().replace(b'"collected"', b'"submitted"').replace(b"batch-1", b"batch-99"))
        key = json.loads(book.read_bytes().splitlines()[0])["key"]
        (book.parent / f"{key}.slots.jsonl").write_bytes(b"")
        assert open_jobs(tmp_path / "run") == ["batch-99"]
        with pytest.raises(RunError, match="knows no job batch-99"):
            batch(distiller(server), tasks(2), tmp_path / "run")


def test_a_quota_that_is_used_up_is_raised_plainly(tmp_path: Path) -> None:
    error = {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}
    with LoopbackServer(lambda _: Reply.json(error, status=429)) as server:
        which = Distiller(open_teacher("openai:m", base_url=server.url, api_key="k"))
        with pytest.raises(QuotaError):
            batch(which, tasks(1), tmp_path / "run")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_runs_on_either_loop(backend: str, tmp_path: Path) -> None:
    with BatchServer("openai", delay=0.1) as server:
        which = distiller(server)
        anyio.run(lambda: run_batch(which._settings, tasks(3), tmp_path, progress=False), backend=backend)
    assert len(list(Run.open(tmp_path).samples())) == 3


def test_jobs_of_another_provider_are_not_forgotten(tmp_path: Path) -> None:
    with BatchServer("openai", delay=3600) as server:
        which = distiller(server)

        async def leave() -> None:
            with anyio.move_on_after(0.5):
                await run_batch(which._settings, tasks(3), tmp_path, progress=False)

        anyio.run(leave)
        assert open_jobs(tmp_path) == ["batch-1"]
        with BatchServer("anthropic") as other, pytest.raises(RunError, match="waits for jobs at openai"):
            batch(distiller(other), tasks(3), tmp_path)
        # Nor may the recipe change while answers to the old one are under way.
        with pytest.raises(RunError, match="temperature"):
            batch(distiller(server, sampling=Sampling(temperature=0.1)), tasks(3), tmp_path)
        server._delay = 0.0
        # What was asked is kept, also where it is not asked for any more; what is new is asked.
        run = batch(distiller(server), [Task(id=9, instruction="question 9")], tmp_path)
        assert {sample.task.id for sample in run.samples()} == {0, 1, 2, 9}
        assert sorted(server.prompts) == ["question 0", "question 1", "question 2", "question 9"]


def test_a_provider_that_is_gone_for_a_while_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with BatchServer("openai", delay=0.1) as server:
        which = distiller(server, retries=0)
        may, refused = server._may, [503] * 3

        def busy(request: Any) -> bool:
            if request.method == "GET" and refused:
                refused.pop()
                raise OSError("away")  # the server answers 500
            return may(request)

        server._may = busy  # type: ignore[method-assign]
        with caplog.at_level(logging.WARNING, "cot_distill"):
            batch(which, tasks(2), tmp_path)
        server._loopback._server.errors.clear()  # type: ignore[union-attr]
    assert caplog.text.count("the jobs go on") == 3
    assert len(list(Run.open(tmp_path).samples())) == 2


@pytest.mark.parametrize("dialect", FAMILIES)
def test_a_teacher_that_streams_is_asked_without_a_stream(dialect: Dialect, tmp_path: Path) -> None:
    with BatchServer(dialect) as server:
        teacher = open_teacher(server.spec, base_url=server.base_url, api_key=server.key, stream=True)
        batch(Distiller(teacher), tasks(2), tmp_path)
        assert not any("stream" in name for line in server.submissions[0].lines for name in line["body"])


def test_asking_directly_is_refused_while_a_job_is_under_way(tmp_path: Path) -> None:
    """Else the same would be paid for twice. ``Distiller.batch`` collects it."""
    with BatchServer("openai", delay=1.0) as server:
        asking, path = distiller(server), tmp_path / "run"

        async def leave_early() -> None:
            with anyio.move_on_after(10) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(lambda: asking.abatch(tasks(3), path, progress=False))
                    while not server.submissions or not (path / "batches").exists() or "?" in open_jobs(path):
                        await anyio.sleep(0.01)
                    await anyio.sleep(0.1)
                    scope.cancel()

        anyio.run(leave_early)
        with pytest.raises(RunError, match=r"waits for batch jobs \(.+\).*collect them with batch\(\) first"):
            asking.run(tasks(3), path, progress=False)
        run = asking.batch(tasks(3), path, progress=False)
        assert len(list(run.samples())) == 3
        assert len(server.submissions) == 1
        asking.run(tasks(3), path, progress=False)
        assert not server.asked
